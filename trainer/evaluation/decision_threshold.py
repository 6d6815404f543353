"""The decision threshold: from which score on a label is predicted. It is chosen on the validation split."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .predictions import DECISION_THRESHOLD, Scores

_DECIMALS = 6
#: The value of a rule that stands for the threshold itself.
FIXED = "fixed"
_F1, _RECALL, _PRECISION = "F1", "recall", "precision"


class ThresholdRule(NamedTuple):
    """How a decision threshold is chosen.

    Attributes:
        kind: `"F1"` for the highest F1; `"recall"` for the highest threshold with at least this recall; `"precision"`
            for the lowest threshold with at least this precision; `"fixed"` for the value itself.
        value: 0 to 1; not used for F1.
    """

    kind: str
    value: float = 0.0

    @property
    def text(self) -> str:
        """The text that `parse` reads."""
        if self.kind == _F1:
            return _F1
        return f"{self.value:g}" if self.kind == FIXED else f"{self.kind}={self.value:g}"

    @classmethod
    def parse(cls, text: str) -> ThresholdRule:
        """The rule that a text such as `F1`, `recall=0.95`, `precision=0.9` or `0.3` names.

        Raises:
            ValueError: the text names none, or its number is not above 0 and below 1.
        """
        name, given, number = text.strip().rpartition("=")
        kind = {"": FIXED, _RECALL: _RECALL, _PRECISION: _PRECISION}.get(name.strip().lower())
        if not given and number.lower() == _F1.lower():
            return cls(_F1)
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if kind is None or (given and kind == FIXED) or not 0 < value < 1:
            raise ValueError(f"{text!r}, expected F1, recall=0.95, precision=0.9, or a score above 0 and below 1")
        return cls(kind, value)


class ChosenThreshold(NamedTuple):
    """A decision threshold, 0 to 1, and its effect on the samples it was chosen on, for people."""

    threshold: float
    note: str


def choose_threshold(scores: Scores, targets: npt.NDArray[Any], rule: ThresholdRule) -> ChosenThreshold:
    """Choose a threshold by a rule. A label is predicted where its score is at least the threshold.

    Between two scores that are next to each other, the threshold is in the middle, so that it also holds for scores
    that are rounded in another way.

    Args:
        scores: shape (n,) or (n, labels), of which all labels are counted together.
        targets: 1 where the label is true, else 0; the same shape.
    """
    flat, true = scores.reshape(-1).astype(np.float64), targets.reshape(-1) == 1
    if rule.kind == FIXED:
        return ChosenThreshold(rule.value, _effect(flat, true, rule.value))
    if not true.any():
        return ChosenThreshold(DECISION_THRESHOLD, f"{DECISION_THRESHOLD:g}, since no validation sample has the label")
    order = np.argsort(-flat, kind="stable")
    # One place for each distinct score, at its last sample: all that have it are predicted together.
    ends = np.flatnonzero(np.append(np.diff(flat[order]) != 0, True))
    distinct, correct = flat[order][ends], np.cumsum(true[order])[ends]
    recall, precision = correct / true.sum(), correct / (ends + 1)
    missed = ""
    if rule.kind == _F1:
        place = int(np.argmax(2 * correct / (ends + 1 + true.sum())))
    elif rule.kind == _RECALL:
        place = int(np.argmax(recall >= rule.value - 1e-12))
    else:
        reached = np.flatnonzero(precision >= rule.value - 1e-12)
        place = int(reached[-1]) if len(reached) else int(np.argmax(precision))
        missed = "" if len(reached) else f", as no threshold reaches {rule.text}"
    threshold = _below(distinct[place], distinct[place + 1] if place + 1 < len(distinct) else 0.0)
    return ChosenThreshold(threshold, _effect(flat, true, threshold) + missed)


def _below(score: float, lower: float) -> float:
    """A threshold that a score reaches and a lower one does not."""
    middle = round((score + lower) / 2, _DECIMALS)
    if lower < middle <= score:
        return float(middle)
    return math.floor(score * 10.0**_DECIMALS) / 10.0**_DECIMALS


def _effect(scores: npt.NDArray[np.float64], true: npt.NDArray[np.bool_], threshold: float) -> str:
    predicted = scores >= threshold
    both = int((predicted & true).sum())
    recall, precision = both / max(1, int(true.sum())), both / max(1, int(predicted.sum()))
    f1 = 2 * both / max(1, int(predicted.sum() + true.sum()))
    return f"{threshold:g}: recall {recall:.4f}, precision {precision:.4f}, F1 {f1:.4f} on the validation split"
