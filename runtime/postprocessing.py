"""From a stored output to scores, and from scores to labelled predictions. Pure functions, no interpreter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .contract import Contract
    from .preprocessing import TensorSpec

#: From an output as it is stored, of any shape, to a vector of real values.
OutputReader: TypeAlias = "Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]"

#: The label of an answer that no score was high enough for.
UNKNOWN = "unknown"
#: Up to so many scores, sorting in Python takes less time than calling numpy.
_FEW = 50
#: Least score of a float output under a temperature: rounding may leave a hair less than 0.
_LEAST = 1e-12


class Prediction(NamedTuple):
    """One answer: a frozen value, and a tuple of its three fields (a dataclass takes ten times as long to define).

    Attributes:
        label: the class's name.
        score: its probability, 0 to 1.
        index: its place among the model's outputs; -1 for `UNKNOWN`.

    Example:
        >>> Prediction("cat", 0.75, 0).as_dict()
        {'label': 'cat', 'score': 0.75, 'index': 0}
    """

    label: str
    score: float
    index: int  # type: ignore[assignment]  # not tuple.index

    def as_dict(self) -> dict[str, Any]:
        """`{"label": ..., "score": ..., "index": ...}`, for JSON."""
        return {"label": self.label, "score": self.score, "index": self.index}


def choose_labels(
    labels: tuple[str, ...], allow: Collection[str] | None, deny: Collection[str]
) -> npt.NDArray[np.int64] | None:
    """Indices of the labels that may be answered, in their order; `None` for all of them.

    Raises:
        ValueError: a name that is no label, or nothing is left.
    """
    if allow is None and not deny:
        return None
    for name in (*(allow or ()), *deny):
        if name not in labels:
            raise ValueError(f"no label {name!r}; the model has {', '.join(labels[:20])}{', ...' * (len(labels) > 20)}")
    chosen = [i for i, label in enumerate(labels) if (allow is None or label in allow) and label not in deny]
    if not chosen:
        raise ValueError("allow and deny leave no label to answer with")
    return np.array(chosen)


def score_floor(step: float, labels: int) -> float:
    """The least score that a temperature is applied to.

    Of a quantized output, 0 stands for whatever is below half a step. Under a temperature each such zero counts; all
    of them together are taken to hold that half step, or a thousand labels would outweigh the one that is right.

    Args:
        step: the output's scale; 0 of a float output.
        labels: how many scores an answer has.
    """
    return max(step / 2 / labels, _LEAST)


def temper(
    scores: npt.NDArray[np.float32], temperature: float, floor: float, *, independent: bool = False
) -> npt.NDArray[np.float32]:
    """Scores under a temperature: their logarithms divided by it, then probabilities again. The order stays.

    Args:
        scores: float32, shape (..., n), probabilities; of the task binary both, not the second alone.
        temperature: above 1 the scores come closer to each other, below 1 the best one grows.
        floor: from `score_floor`.
        independent: each score is a probability of its own (the task multilabel) and stands against its complement;
            otherwise they sum to one.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017. There
    the logits are divided; the logarithm of a softmax differs from them by one number for all, which goes out again.

    Example:
        >>> temper(np.array([0.25, 0.75], np.float32), 0.5, 1e-9).tolist()
        [0.10000000149011612, 0.8999999761581421]
    """
    scores = np.maximum(scores, floor)
    # As shares of the greatest: a high power of a small number would be 0, and of all of them 0 / 0.
    greatest = np.maximum.reduce(scores, axis=-1, keepdims=True)
    if independent:
        others = np.maximum(1 - scores, floor)
        greatest = np.maximum(scores, others)
    powers = (scores / greatest) ** (1 / temperature)
    total = np.add.reduce(powers, axis=-1, keepdims=True)
    if independent:
        total = powers + (others / greatest) ** (1 / temperature)
    tempered: npt.NDArray[np.float32] = powers / total
    return tempered


def dequantizer(output: TensorSpec) -> OutputReader:
    """What makes a vector of real values of the stored output; for 8 bits a look into a table of all there are."""
    if not output.is_quantized:
        return lambda stored: stored.reshape(-1)  # float32: _check_shapes saw to it
    table = output.dequantize(np.arange(256, dtype=np.uint8).view(output.dtype))
    return lambda stored: table[stored.reshape(-1).view(np.uint8)]


def tempered_reader(output: TensorSpec, contract: Contract, real: OutputReader) -> OutputReader:
    """What makes scores under the contract's temperature of the stored output; `real` itself where that is 1."""
    temperature = contract.confidence.temperature
    if temperature == 1:
        return real
    floor = score_floor(output.scale, len(contract.labels))
    if contract.task == "binary":

        def both(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
            second = real(stored)[0]
            return temper(np.array([1 - second, second], np.float32), temperature, floor)

        return both
    if contract.task == "multilabel":
        return lambda stored: temper(real(stored), temperature, floor, independent=True)
    if temperature < 1:  # its powers are high ones: see `temper`
        return lambda stored: temper(real(stored), temperature, floor)
    raised = _table(output, real, temperature, floor) if output.is_quantized else _power(real, temperature, floor)

    def shared(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        powers = raised(stored)
        tempered: npt.NDArray[np.float32] = powers / np.add.reduce(powers)
        return tempered

    return shared


def _table(output: TensorSpec, real: OutputReader, temperature: float, floor: float) -> OutputReader:
    """The powers of all 256 values beforehand; in double precision, so that every machine has the same."""
    values = real(np.arange(256, dtype=np.uint8).view(output.dtype)).astype(np.float64)
    table = (np.maximum(values, floor) ** (1 / temperature)).astype(np.float32)
    return lambda stored: table[stored.reshape(-1).view(np.uint8)]


def _power(real: OutputReader, temperature: float, floor: float) -> OutputReader:
    # Arrays: of a plain number numpy makes one at each call, which takes longer than the power.
    least, exponent = np.array(floor, np.float32), np.array(1 / temperature, np.float32)
    return lambda stored: np.power(np.maximum(real(stored), least), exponent)


def rank(
    scores: npt.NDArray[np.float32],
    labels: Sequence[str],
    top: int,
    min_score: float = 0.0,
    chosen: npt.NDArray[np.int64] | None = None,
    threshold: float = 0.0,
) -> list[Prediction]:
    """The `top` highest scores, highest first, equal ones in the order of the outputs.

    Args:
        scores: float32, shape (n,).
        labels: n names.
        top: answers at most, at least 1.
        min_score: answers below it are left out. Where none is left, the one answer is `UNKNOWN`, with the
            score that was best and the index -1, so that there always is a first answer.
        chosen: indices of the labels that may be answered; all of them without it.
        threshold: where the best answer is below it, the one answer is `UNKNOWN` too; the others are not judged.

    Example:
        >>> rank(np.array([0.25, 0.75], np.float32), ("cat", "dog"), top=1)
        [Prediction(label='dog', score=0.75, index=1)]
        >>> rank(np.array([0.25, 0.75], np.float32), ("cat", "dog"), top=2, min_score=0.9)
        [Prediction(label='unknown', score=0.75, index=-1)]
    """
    values = scores.tolist()
    order: Sequence[int] = range(len(values)) if chosen is None else chosen.tolist()
    if top == 1 and chosen is None:
        order = [values.index(max(values))]
    elif len(order) <= _FEW:
        order = sorted(order, key=values.__getitem__, reverse=True)[:top]
    else:
        order = np.asarray(order)[np.argsort(-scores[order], kind="stable")[:top]].tolist()
    answers = [Prediction(labels[i], values[i], i) for i in order]
    if answers[0].score < min_score or answers[0].score < threshold:
        return [Prediction(UNKNOWN, answers[0].score, -1)]
    if answers[-1].score < min_score:
        return [answer for answer in answers if answer.score >= min_score]
    return answers
