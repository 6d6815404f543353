"""The figures by which each task is judged, of a model and beside the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.bootstrap import average_precision, f1, percentile_interval, resampled, roc_auc, share
from trainer.evaluation.statistics import Interval, paired_interval, wilson_interval

if TYPE_CHECKING:
    from .accuracy import Scored

#: By task; the first is the one that is told first and drawn.
METRICS = {
    "multiclass": ("accuracy",),
    "binary": ("accuracy", "roc_auc"),
    "multilabel": ("mean_average_precision", "micro_f1"),
}
#: As people read them.
NAMES = {
    "accuracy": "accuracy",
    "roc_auc": "ROC AUC",
    "mean_average_precision": "mean average precision",
    "micro_f1": "F1",
}

_Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One figure of a model beside the reference's on the same pictures; all are shares, intervals of 95 %.

    Attributes:
        name: of `NAMES`.
        value, interval: of the model.
        drop, drop_interval: what it loses against the reference; negative where it wins.
    """

    name: str
    value: float
    interval: Interval
    drop: float
    drop_interval: Interval

    def as_dict(self, is_reference: bool) -> dict[str, Any]:
        """For `report.json`."""
        found = asdict(self) | {"interval": list(self.interval)}
        return found | {"drop_interval": None if is_reference else list(self.drop_interval)}


def judge(scored: Scored, reference: Scored) -> tuple[Metric, ...]:
    """The task's figures, in the order of `METRICS`, without what the pictures leave undefined: a ROC of one class."""
    found = (
        _accuracy(scored, reference) if name == "accuracy" else _ranked(name, scored, reference)
        for name in METRICS[scored.task]
    )
    return tuple(metric for metric in found if metric is not None)


def _accuracy(scored: Scored, reference: Scored) -> Metric:
    total = len(scored.targets)
    lost = int((reference.right & ~scored.right).sum())
    won = int((~reference.right & scored.right).sum())
    right = int(scored.right.sum())
    drop, interval = (lost - won) / total, paired_interval(lost, won, total)
    return Metric("accuracy", right / total, wilson_interval(right, total), drop, interval)


def _ranked(name: str, scored: Scored, reference: Scored) -> Metric | None:
    """A figure for whose interval there is no formula: pictures are drawn anew, the same for both models."""
    figure = _FIGURES[name]
    once = np.ones((1, len(scored.targets)))
    value, before = float(figure(scored, once)[0]), float(figure(reference, once)[0])
    if np.isnan(value):
        return None
    pairs = [(figure(scored, weights), figure(reference, weights)) for weights in resampled(len(scored.targets))]
    ours, theirs = (np.concatenate(values) for values in zip(*pairs, strict=True))
    drop = before - value
    return Metric(name, value, _around(value, ours), drop, _around(drop, theirs - ours))


def _around(value: float, drawn: _Weights) -> Interval:
    """The interval, reaching as far as the figure itself: of few pictures, resampling may be off to one side."""
    low, high = percentile_interval(drawn)
    return min(low, value), max(high, value)


def _roc_auc(scored: Scored, weights: _Weights) -> _Weights:
    return roc_auc(scored.scores[:, 1], scored.targets == 1, weights)


def _mean_average_precision(scored: Scored, weights: _Weights) -> _Weights:
    columns = range(scored.scores.shape[1])
    found = np.stack([average_precision(scored.scores[:, i], scored.targets[:, i] == 1, weights) for i in columns])
    known = ~np.isnan(found)  # a resample may have drawn no picture of a label, or of any
    return share(np.where(known, found, 0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _micro_f1(scored: Scored, weights: _Weights) -> _Weights:
    return f1(scored.answers == 1, scored.targets == 1, weights)


_FIGURES: dict[str, Callable[[Scored, _Weights], _Weights]] = {
    "roc_auc": _roc_auc,
    "mean_average_precision": _mean_average_precision,
    "micro_f1": _micro_f1,
}


def label_precisions(scored: Scored) -> list[float | None]:
    """Of multilabel: the average precision of each label; None for one without pictures."""
    once = np.ones((1, len(scored.targets)))
    truths = (scored.targets == 1).T
    return [
        float(average_precision(scores, truth, once)[0]) if truth.any() else None
        for scores, truth in zip(scored.scores.T, truths, strict=True)
    ]
