"""How taught classes and the network's own are decided between.

The network's softmax decides among its own classes. Every class has a prototype, the mean direction of its pictures,
and by it a linear discriminant (see `Discriminants`). The score of a taught class is that of the network's answer,
times an exponential: of how much greater the discriminant of the taught class is than that of the network's answer,
less a bias. So a taught class is the answer exactly where that difference is greater than the bias, and the scores of
the network's classes keep their ratios.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract import PROBABILITIES, Contract
from ..errors import ModelFileError
from ..model_file import ModelFile
from ..postprocessing import OutputReader, apply_temperature, score_floor
from ..preprocessing import TensorSpec
from .format import MAX_BIAS, Floats, Rehearsal, Taught, TaughtClass, directions, read_rehearsal, read_taught

#: The share of the rehearsed pictures that a taught class may win although the network answers them rightly.
_LOST_SHARE = 0.03
#: Without a rehearsed picture.
_BIAS, _TEMPERATURE = 0.1, 0.1
#: The share of the measured scatter in that of a discriminant. Chosen on CIFAR-10: 0.05 to 0.2 are equally good.
_MEASURED_SHARE = 0.1
_TEMPERATURES = np.geomspace(0.02, 1, 40)
#: The largest exponent: a score of a taught class stays finite.
_LARGEST = 80.0


class Discriminants:
    """Linear discriminants of classes by their prototypes and the scatter that all classes share.

    The scatter is that of pictures about the prototype of their class, shrunk towards the same in every direction. It
    is measured on the network's own classes: few pictures of a taught class say little about it. Source: J. Friedman,
    Regularized Discriminant Analysis, JASA 84 (1989), with one scatter for all classes. Values are divided by the mean
    squared distance of two of the network's classes, so that they do not depend on the number of embedding values.

    Args:
        rehearsal: of the model file.

    Attributes:
        own: of the network's classes, as from `of`.
    """

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._within = rehearsal.within.astype(np.float64)
        count, size = self._within.shape
        square = max(float(np.square(self._within).sum()), 1e-9)
        self._even = (1 - _MEASURED_SHARE) / _MEASURED_SHARE * square / size
        self._gram = self._within @ self._within.T + self._even * np.eye(count)
        self._scale = 1.0
        prototypes = rehearsal.prototypes.astype(np.float64)
        weights = self.apply(prototypes)
        products = weights @ prototypes.T
        squares = np.diag(products)
        apart = squares[:, np.newaxis] + squares - products - products.T
        self._scale = 1 / max(float(apart.sum()) / max(len(apart) * (len(apart) - 1), 1), 1e-9)
        self.own = _weights_and_constants(weights * self._scale, prototypes)

    def apply(self, vectors: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """The inverse of the scatter, times vectors of shape (n, values)."""
        wide = vectors.astype(np.float64)
        # The formula of Woodbury: as many equations as pictures, rather than as embedding values.
        inside = np.linalg.solve(self._gram, self._within @ wide.T).T @ self._within
        found: npt.NDArray[np.float64] = (wide - inside) * (self._scale / self._even)
        return found

    def of(self, prototypes: npt.NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
        """The weights (classes, values) and constants (classes,) of classes with these prototypes, float32."""
        return _weights_and_constants(self.apply(prototypes), prototypes)


def _weights_and_constants(
    weights: npt.NDArray[np.float64], prototypes: npt.NDArray[np.floating[Any]]
) -> tuple[Floats, Floats]:
    constants = -(weights * prototypes).sum(axis=1) / 2
    return weights.astype(np.float32), constants.astype(np.float32)


class TaughtDecision:
    """Scores of all labels from the network's scores and the embedding.

    Args:
        rehearsal: of the model file.
        taught: of the same file, with at least one class.
        name: the file's name, for messages.

    Raises:
        ModelFileError: their embeddings have different lengths.
    """

    def __init__(self, rehearsal: Rehearsal, taught: Taught, name: str) -> None:
        if taught.classes[0].embeddings.shape[1:] != rehearsal.mean.shape:
            raise ModelFileError(f"{name}: its taught classes have other embeddings than its network; teach them again")
        self._mean = rehearsal.mean
        discriminants = Discriminants(rehearsal)
        self._own, self._taught = discriminants.own, discriminants.of(means_of(taught.classes))
        self._bias, self._temperature = taught.bias, taught.temperature

    def scores(self, own: Floats, embedding: Floats) -> Floats:
        """The score of each label, float32; they sum to one if `own` does.

        Args:
            own: the network's scores, (classes,).
            embedding: as `Classifier.embed` gives it.
        """
        direction = directions(embedding, self._mean)
        answer = int(own.argmax())
        (own_weights, own_constants), (weights, constants) = self._own, self._taught
        more = weights @ direction + constants - own_weights[answer] @ direction - own_constants[answer]
        found: Floats = combine(own[np.newaxis], more[np.newaxis], self._bias, self._temperature)[0]
        return found


def taught_readers(file: ModelFile | None, output: TensorSpec, name: str) -> tuple[OutputReader, OutputReader]:
    """Functions from what `Classifier.run` gives to the scores of all labels: without the temperature, and with it.

    Args:
        file: the model file; None where there is an interpreter alone.
        output: the tensor of the network's scores.
        name: the file's name, for messages.

    Raises:
        ModelFileError: its rehearsal or its taught classes are missing, or not as they were written.
    """
    if file is None:
        raise ModelFileError(f"{name}: its contract has taught labels, and their prototypes are in a model file alone")
    contract = file.contract
    decision, own = TaughtDecision(read_rehearsal(file), read_taught(file), name), contract.outputs
    temperature = contract.confidence.temperature
    floor = network_floor(contract, output)

    def plain(stored: npt.NDArray[Any]) -> Floats:
        return decision.scores(stored[:own], stored[own:])

    def calibrated(stored: npt.NDArray[Any]) -> Floats:
        return decision.scores(apply_temperature(stored[:own], temperature, floor), stored[own:])

    return plain, (plain if temperature == 1 else calibrated)


def network_floor(contract: Contract, output: TensorSpec) -> float:
    """The least score of the network before the temperature is applied to it, as `calibrated_reader` has it."""
    return score_floor(output.scale if contract.scores == PROBABILITIES else 0.0, contract.outputs)


def means_of(classes: Sequence[TaughtClass]) -> Floats:
    """The mean direction of each class: float32 (classes, values)."""
    return np.stack([one.embeddings.mean(axis=0) for one in classes])


def combine(own: Floats, more: npt.NDArray[np.floating[Any]], bias: float, temperature: float) -> Floats:
    """The scores of all labels.

    Args:
        own: the network's scores, (n, classes).
        more: the discriminant of each taught class less that of the network's answer, (n, taught).
    """
    exponents = np.minimum((more - bias) / temperature, _LARGEST)
    taught = own.max(axis=1, keepdims=True) * np.exp(exponents)
    both = np.concatenate([own, taught], axis=1)
    found: Floats = (both / both.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def _without(
    discriminants: Discriminants, pictures: Floats, means: Floats, counts: npt.NDArray[np.int_]
) -> npt.NDArray[np.float64]:
    """The discriminant of each picture's own class, whose mean is taken without the picture; -inf of a single one.

    Args:
        pictures: directions, (n, values).
        means: of the class of each, with the picture, (n, values).
        counts: how many pictures that mean is of, (n,).
    """
    others = np.maximum(counts - 1, 1)[:, np.newaxis]
    without = (means * counts[:, np.newaxis] - pictures) / others
    found = (discriminants.apply(without) * (pictures - without / 2)).sum(axis=1)
    return np.where(counts > 1, found, -np.inf)


class Trial:
    """Pictures whose class is known, compared with prototypes that do not know them (leave-one-out).

    Args:
        rehearsal: the network's classes.
        classes: the taught classes, at least one.

    Attributes:
        own: the network's scores, float32 (n, classes).
        more: as for `combine`.
        targets: the number of the label of each picture, those of the network first.
        weights: each class has the same sum.
    """

    def __init__(self, rehearsal: Rehearsal, classes: Sequence[TaughtClass]) -> None:
        count = len(rehearsal.counts)
        old = np.array(rehearsal.targets, int)
        new = np.repeat(np.arange(len(classes)), [len(one.embeddings) for one in classes])
        pictures = np.concatenate([rehearsal.embeddings, *(one.embeddings for one in classes)])
        self.own = np.concatenate([rehearsal.scores, *(one.scores for one in classes)])
        self.targets = np.concatenate([old, count + new])
        discriminants, answers = Discriminants(rehearsal), self.own.argmax(axis=1)
        weights, constants = discriminants.own
        own = pictures @ weights.T + constants
        if not rehearsal.held_out:
            counts = np.array(rehearsal.counts)[old]
            own[np.arange(len(old)), old] = _without(
                discriminants, rehearsal.embeddings, rehearsal.prototypes[old], counts
            )
        means = means_of(classes)
        weights, constants = discriminants.of(means)
        taught = pictures @ weights.T + constants
        shots, counts = pictures[len(old) :], np.array([len(one.embeddings) for one in classes])[new]
        taught[np.arange(len(old), len(pictures)), new] = _without(discriminants, shots, means[new], counts)
        self.more = taught - own[np.arange(len(own)), answers][:, np.newaxis]
        sizes = np.bincount(self.targets, minlength=count + len(classes))
        self.weights = 1 / sizes[self.targets]
        self._rehearsed = len(old)

    def fit(self) -> tuple[float, float]:
        """The bias and the temperature of the decision."""
        if not self._rehearsed:
            return _BIAS, _TEMPERATURE
        old = slice(self._rehearsed)
        right = self.own[old].argmax(axis=1) == self.targets[old]
        best = np.sort(np.where(right, self.more[old].max(axis=1), 0))
        bias = min(max(0.0, float(best[-1 - int(_LOST_SHARE * len(best))])), MAX_BIAS)
        bias = math.ceil(1e4 * bias) / 1e4
        losses = [self._loss(bias, float(temperature)) for temperature in _TEMPERATURES]
        return bias, round(float(_TEMPERATURES[int(np.argmin(losses))]), 4)

    def _loss(self, bias: float, temperature: float) -> float:
        scores = combine(self.own, self.more, bias, temperature)
        right = np.maximum(scores[np.arange(len(scores)), self.targets], 1e-6)
        return -float((self.weights * np.log(right)).sum())

    def recognized(self, bias: float, temperature: float) -> list[int]:
        """How many pictures of each taught class are answered rightly."""
        answers = combine(self.own, self.more, bias, temperature).argmax(axis=1)
        first = self.own.shape[1]
        return [
            int((answers[self.targets == label] == label).sum()) for label in range(first, first + self.more.shape[1])
        ]

    def threshold(self, before: float, bias: float, temperature: float) -> float:
        """The threshold that rejects the same share of the rehearsed pictures as `before` did, and at most `before`."""
        if not before or not self._rehearsed:
            return before
        share = float((self.own[: self._rehearsed].max(axis=1) < before).mean())
        best = combine(self.own, self.more, bias, temperature).max(axis=1)
        order = np.sort(best)
        return round(min(before, float(order[min(len(order) - 1, int(share * len(order)))])), 6)
