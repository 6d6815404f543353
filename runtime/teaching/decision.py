"""How taught classes and the network's own are decided between.

The network's softmax decides among its own classes. A taught class has a prototype, the mean direction of its pictures.
Its score is that of the network's answer, times an exponential: of how much more the picture resembles the taught class
than the network's answer, as a difference of cosines less a bias. So a taught class is the answer exactly where that
difference is greater than the bias, and the scores of the network's classes keep their ratios.
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
from .format import Floats, Rehearsal, Taught, TaughtClass, directions, read_rehearsal, read_taught, unit

#: The share of the rehearsed pictures that a taught class may win although the network answers them rightly.
_LOST_SHARE = 0.02
#: Without a rehearsed picture.
_BIAS, _TEMPERATURE = 0.1, 0.1
_TEMPERATURES = np.geomspace(0.02, 1, 40)
#: The largest exponent: a score of a taught class stays finite.
_LARGEST = 80.0


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
        self._own = unit(rehearsal.prototypes)
        self._taught = prototypes_of(taught.classes)
        self._bias, self._temperature = taught.bias, taught.temperature

    def scores(self, own: Floats, embedding: Floats) -> Floats:
        """The score of each label, float32; they sum to one if `own` does.

        Args:
            own: the network's scores, (classes,).
            embedding: as `Classifier.embed` gives it.
        """
        direction = directions(embedding, self._mean)
        answer = int(own.argmax())
        more = self._taught @ direction - self._own[answer] @ direction
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


def prototypes_of(classes: Sequence[TaughtClass]) -> Floats:
    """The prototype of each class, with length 1: float32 (classes, values)."""
    return unit(np.stack([one.embeddings.mean(axis=0) for one in classes]))


def combine(own: Floats, more: npt.NDArray[np.floating[Any]], bias: float, temperature: float) -> Floats:
    """The scores of all labels.

    Args:
        own: the network's scores, (n, classes).
        more: the cosine of each taught class less that of the network's answer, (n, taught).
    """
    exponents = np.minimum((more - bias) / temperature, _LARGEST)
    taught = own.max(axis=1, keepdims=True) * np.exp(exponents)
    both = np.concatenate([own, taught], axis=1)
    found: Floats = (both / both.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


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
        answers, rows = self.own.argmax(axis=1), np.arange(len(pictures))
        own = pictures @ unit(rehearsal.prototypes).T
        if not rehearsal.held_out:
            counts = np.array(rehearsal.counts, np.float32)[old, np.newaxis]
            without = unit(rehearsal.prototypes[old] * counts - rehearsal.embeddings)
            own[rows[: len(old)], old] = np.where(counts[:, 0] > 1, (without * rehearsal.embeddings).sum(axis=1), -1)
        taught = pictures @ prototypes_of(classes).T
        sums = np.stack([one.embeddings.sum(axis=0) for one in classes])
        shots = pictures[len(old) :]
        taught[rows[len(old) :], new] = (unit(sums[new] - shots) * shots).sum(axis=1)
        self.more = taught - own[rows, answers][:, np.newaxis]
        sizes = np.bincount(self.targets, minlength=count + len(classes))
        self.weights = 1 / sizes[self.targets]
        self._rehearsed = len(old)

    def fit(self) -> tuple[float, float]:
        """The bias and the temperature of the decision."""
        if not self._rehearsed:
            return _BIAS, _TEMPERATURE
        old = slice(self._rehearsed)
        right = self.own[old].argmax(axis=1) == self.targets[old]
        best = np.sort(np.where(right, self.more[old].max(axis=1), -1))
        bias = max(0.0, math.ceil(1e4 * float(best[-1 - int(_LOST_SHARE * len(best))])) / 1e4)
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
