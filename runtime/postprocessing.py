"""From a stored output tensor to scores, and from scores to labelled predictions. Pure functions, no interpreter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from .contract import DEFAULT_DECISION, PROBABILITIES, SIGMOID, SOFTMAX
from .errors import shortened

if TYPE_CHECKING:
    from .contract import Contract
    from .preprocessing import TensorSpec

#: Turns a stored output tensor of any shape into a vector of scores.
OutputReader: TypeAlias = "Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]"

#: The label of a prediction where no score was high enough.
UNKNOWN = "unknown"
#: Up to this number of scores, sorting in Python takes less time than calling numpy.
_FEW = 50
#: Least score of a float output before a temperature is applied: rounding can make a score slightly negative.
_LEAST = 1e-12


def unknown_remark(labels: Sequence[str]) -> str:
    """A line about a label that means something else on a device, too; "" if there is none."""
    for label in labels:
        if label.casefold() == UNKNOWN:
            return (
                f"a class is called {label!r}, and a device answers {UNKNOWN!r} as well where no score reaches the "
                "threshold; give the class another name, such as 'other'"
            )
    return ""


class Prediction(NamedTuple):
    """One label with its score. A NamedTuple, since a dataclass takes ten times as long to define.

    Attributes:
        label: the class's name.
        score: the class's probability, 0 to 1.
        index: the class's place among the model's outputs; -1 for `UNKNOWN`.

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
    """Indices of the labels that may be predicted, in their order; `None` for all of them.

    Raises:
        ValueError: a name is no label, or no label remains.
        TypeError: one text instead of a list of labels; its letters would be taken for labels.
    """
    for argument, names in (("allow", allow), ("deny", deny)):
        if isinstance(names, str):
            raise TypeError(f"{argument} is the text {shortened(names, 80, 20)!r}, expected a list of labels")
    if allow is None and not deny:
        return None
    for name in (*(allow or ()), *deny):
        if name not in labels:
            name = str(name)
            parts = name.split(",")
            several = f"; give these {len(parts)} labels one by one" if len(parts) > 1 and {*parts} <= {*labels} else ""
            known = ", ".join(shortened(label, 80, 20) for label in labels[:20])
            raise ValueError(
                f"no label {shortened(name, 80, 20)!r}; the model has {known}{', ...' * (len(labels) > 20)}{several}"
            )
    chosen = [i for i, label in enumerate(labels) if (allow is None or label in allow) and label not in deny]
    if not chosen:
        raise ValueError("`allow` and `deny` leave no label to predict")
    return np.array(chosen)


def score_floor(step: float, labels: int) -> float:
    """The least score before a temperature is applied; lower ones are raised to it.

    A quantized output stores every value below half a step as 0. A temperature raises such zeros, so all of them
    together count as half a step; otherwise the zeros of a thousand labels would outweigh the predicted one.

    Args:
        step: the output's scale; 0 for a float output.
        labels: the number of labels.
    """
    return max(step / 2 / labels, _LEAST)


def apply_temperature(
    scores: npt.NDArray[np.float32], temperature: float, floor: float, *, independent: bool = False
) -> npt.NDArray[np.float32]:
    """Divide the logarithms of scores by a temperature and normalise again. The order of the scores stays.

    Args:
        scores: probabilities, float32, shape (..., n); for the task binary both, not the second alone.
        temperature: above 1 the scores come closer to each other, below 1 the best one grows.
        floor: the value of `score_floor`.
        independent: each score is a probability of its own (the task multilabel); otherwise they sum to one.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017. There
    the logits are divided. The logarithms of a softmax differ from its logits by a constant, which cancels.

    Example:
        >>> apply_temperature(np.array([0.25, 0.75], np.float32), 0.5, 1e-9).tolist()
        [0.10000000149011612, 0.8999999761581421]
    """
    scores = np.maximum(scores, floor)
    # As shares of the greatest: high powers of small numbers would all be 0, and the result 0 / 0.
    greatest = np.maximum.reduce(scores, axis=-1, keepdims=True)
    if independent:
        others = np.maximum(1 - scores, floor)
        greatest = np.maximum(scores, others)
    powers = (scores / greatest) ** (1 / temperature)
    total = np.add.reduce(powers, axis=-1, keepdims=True)
    if independent:
        total = powers + (others / greatest) ** (1 / temperature)
    calibrated: npt.NDArray[np.float32] = powers / total
    return calibrated


def dequantizer(output: TensorSpec) -> OutputReader:
    """A function from the stored output tensor to real scores; for 8 bits it looks each value up in a table."""
    if not output.is_quantized:
        return lambda stored: stored.reshape(-1)  # float32, as the classifier has checked
    table = output.dequantize(np.arange(256, dtype=np.uint8).view(output.dtype))
    return lambda stored: table[stored.reshape(-1).view(np.uint8)]


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities that sum to one, from a float32 vector of logits."""
    powers = np.exp(logits - np.maximum.reduce(logits))
    probabilities: npt.NDArray[np.float32] = powers / np.add.reduce(powers)
    return probabilities


def sigmoid(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A probability for each logit of a float32 vector; no logit overflows."""
    probabilities: npt.NDArray[np.float32] = np.exp(-np.logaddexp(np.float32(0), -logits))
    return probabilities


def score_reader(output: TensorSpec, contract: Contract) -> OutputReader:
    """A function from the stored output tensor to scores that are not calibrated."""
    real = dequantizer(output)
    if contract.scores not in (SOFTMAX, SIGMOID):
        return real
    activation = softmax if contract.scores == SOFTMAX else sigmoid
    return lambda stored: activation(real(stored))


def calibrated_reader(output: TensorSpec, contract: Contract, real: OutputReader) -> OutputReader:
    """A function from the stored output tensor to calibrated scores; `real` itself if the temperature is 1.

    Args:
        output: the output tensor.
        contract: its temperature and its task are used.
        real: the function from `score_reader`.
    """
    temperature = contract.confidence.temperature
    if temperature == 1:
        return real
    # The step of an output that holds logits is none of the probabilities'.
    direct = contract.scores == PROBABILITIES
    floor = score_floor(output.scale if direct else 0.0, len(contract.labels))
    if contract.task == "binary":

        def both(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
            second = real(stored)[0]
            return apply_temperature(np.array([1 - second, second], np.float32), temperature, floor)

        return both
    if contract.task == "multilabel":
        return lambda stored: apply_temperature(real(stored), temperature, floor, independent=True)
    if temperature < 1:  # high powers: see `apply_temperature`
        return lambda stored: apply_temperature(real(stored), temperature, floor)
    by_table = output.is_quantized and direct
    raised = _table(output, real, temperature, floor) if by_table else _power(real, temperature, floor)

    def shared(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        powers = raised(stored)
        calibrated: npt.NDArray[np.float32] = powers / np.add.reduce(powers)
        return calibrated

    return shared


def _table(output: TensorSpec, real: OutputReader, temperature: float, floor: float) -> OutputReader:
    """A table of the powers of all 256 values, made in double precision, so that every machine has the same."""
    values = real(np.arange(256, dtype=np.uint8).view(output.dtype)).astype(np.float64)
    table = (np.maximum(values, floor) ** (1 / temperature)).astype(np.float32)
    return lambda stored: table[stored.reshape(-1).view(np.uint8)]


def _power(real: OutputReader, temperature: float, floor: float) -> OutputReader:
    # Arrays: numpy would convert a plain number at each call, which takes longer than the power.
    least, exponent = np.array(floor, np.float32), np.array(1 / temperature, np.float32)
    return lambda stored: np.power(np.maximum(real(stored), least), exponent)


def rank(
    scores: npt.NDArray[np.float32],
    labels: Sequence[str],
    top: int,
    min_score: float = 0.0,
    chosen: npt.NDArray[np.int64] | None = None,
    threshold: float = 0.0,
    decision: float = DEFAULT_DECISION,
) -> list[Prediction]:
    """The `top` highest scores, highest first, equal ones in the order of the outputs.

    Args:
        scores: float32, shape (n,).
        labels: n names.
        top: the largest number of predictions, at least 1.
        min_score: predictions below it are left out. If none remains, the only one is `UNKNOWN`, with the best
            score and the index -1, so that there is always a first prediction.
        chosen: indices of the labels that may be predicted; by default all of them.
        threshold: if the best prediction is below it, the only one is `UNKNOWN` too; the others need not reach it.
        decision: of two labels, the second is the first prediction if its score is at least this, whatever the other's
            score is; with 0.5 the higher score is first.

    Example:
        >>> rank(np.array([0.25, 0.75], np.float32), ("cat", "dog"), top=1)
        [Prediction(label='dog', score=0.75, index=1)]
        >>> rank(np.array([0.25, 0.75], np.float32), ("cat", "dog"), top=2, min_score=0.9)
        [Prediction(label='unknown', score=0.75, index=-1)]
    """
    values = scores.tolist()
    order: Sequence[int] = range(len(values)) if chosen is None else chosen.tolist()
    if decision != DEFAULT_DECISION:
        order = sorted(order, reverse=values[1] >= decision)[:top]
    elif top == 1 and chosen is None:
        order = [values.index(max(values))]
    elif len(order) <= _FEW:
        order = sorted(order, key=values.__getitem__, reverse=True)[:top]
    else:
        order = np.asarray(order)[np.argsort(-scores[order], kind="stable")[:top]].tolist()
    predictions = [Prediction(labels[i], values[i], i) for i in order]
    if predictions[0].score < min_score or predictions[0].score < threshold:
        return [Prediction(UNKNOWN, predictions[0].score, -1)]
    if predictions[-1].score < min_score:
        return [prediction for prediction in predictions if prediction.score >= min_score]
    return predictions
