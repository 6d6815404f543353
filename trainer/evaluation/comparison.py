"""A model's figures beside a reference model's on the same samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .bootstrap import (
    Resampled,
    percentile_interval,
    ratio,
    resample_weights,
    weighted_average_precision,
    weighted_micro_f1,
    weighted_roc_auc,
)
from .calibration_error import Reliability, reliability
from .intervals import Interval, mcnemar_p_value, paired_interval, wilson_interval
from .metrics import HEADLINES, confusion_of, readable, recalls
from .predictions import Predictions


@dataclass(frozen=True)
class MetricComparison:
    """One metric of a model beside the reference's; all values are shares, intervals of 95 %.

    Attributes:
        name: as in `metrics.HEADLINES`.
        value, interval: of the model.
        drop, drop_interval: what the model loses against the reference; negative where it wins.
    """

    name: str
    value: float
    interval: Interval
    drop: float
    drop_interval: Interval

    def as_dict(self, is_reference: bool) -> dict[str, Any]:
        """For `report.json`."""
        fields = asdict(self) | {"interval": list(self.interval)}
        return fields | {"drop_interval": None if is_reference else list(self.drop_interval)}


def metric_title(name: str) -> str:
    """The name of a metric in reports and gates, where micro F1 is the only F1."""
    return "F1" if name == "micro_f1" else readable(name)


@dataclass(frozen=True)
class Comparison:
    """A model beside the reference on the same samples; shares are 0 to 1, intervals of 95 %.

    Attributes:
        accuracy, accuracy_interval: of the model; for multilabel, the share of samples with every label correct.
        metrics: the task's headline metrics that are defined for these samples.
        p_value: McNemar's exact test of the hypothesis that both models are correct equally often.
        agreement: share of samples for which both models predict the same.
        recall: of each class; None for a class without samples.
        average_precision: of each label of multilabel, likewise; None for the other tasks.
        class_drop: the largest loss of a class in recall, or for multilabel in average precision; 0 where none loses.
        worst_class: the index of that class; None where none loses.
        confusion: as in `Metrics`.
        reliability: expected calibration error, and the diagram's bins.
        uncalibrated: the same without the temperature of the contract.
    """

    accuracy: float
    accuracy_interval: Interval
    metrics: tuple[MetricComparison, ...]
    p_value: float
    agreement: float
    recall: list[float | None]
    average_precision: list[float | None] | None
    class_drop: float
    worst_class: int | None
    confusion: npt.NDArray[np.int64]
    reliability: Reliability
    uncalibrated: Reliability

    @property
    def drop(self) -> float:
        """The loss in the first of the task's metrics against the reference; negative where the model wins."""
        return self.metrics[0].drop

    @property
    def drop_interval(self) -> Interval:
        """The interval of `drop`."""
        return self.metrics[0].drop_interval

    def by_class(self) -> list[float | None]:
        """The figure of each class that `class_drop` is computed from."""
        return self.recall if self.average_precision is None else self.average_precision


def compare_predictions(predictions: Predictions, reference: Predictions) -> Comparison:
    """All figures of a model beside the reference's predictions for the same samples."""
    confusion, recall = _confusion_and_recall(predictions)
    precisions, after, before = None, recall, _confusion_and_recall(reference)[1]
    if predictions.task == "multilabel":
        after = precisions = _label_precisions(predictions)
        before = _label_precisions(reference)
    drops = [0.0 if a is None or b is None else b - a for a, b in zip(after, before, strict=True)]
    worst = int(np.argmax(drops))
    correct = predictions.correct
    return Comparison(
        accuracy=float(correct.mean()),
        accuracy_interval=wilson_interval(int(correct.sum()), len(correct)),
        metrics=compare_metrics(predictions, reference),
        p_value=mcnemar_p_value(*_changes(predictions, reference)),
        agreement=float(predictions.matches(reference.predicted).mean()),
        recall=recall,
        average_precision=precisions,
        class_drop=max(0.0, drops[worst]),
        worst_class=worst if drops[worst] > 0 else None,
        confusion=confusion,
        reliability=reliability(predictions.scores, predictions.targets),
        uncalibrated=reliability(predictions.uncalibrated, predictions.targets),
    )


def compare_metrics(predictions: Predictions, reference: Predictions) -> tuple[MetricComparison, ...]:
    """The task's headline metrics, without those that the samples leave undefined, such as ROC AUC of one class."""
    compared = (
        _compare_accuracy(predictions, reference)
        if name == "accuracy"
        else _compare_ranking(name, predictions, reference)
        for name in HEADLINES[predictions.task]
    )
    return tuple(metric for metric in compared if metric is not None)


def _changes(predictions: Predictions, reference: Predictions) -> tuple[int, int]:
    """How many samples only the reference predicts correctly, and how many only the model does."""
    after, before = predictions.correct, reference.correct
    return int((before & ~after).sum()), int((~before & after).sum())


def _compare_accuracy(predictions: Predictions, reference: Predictions) -> MetricComparison:
    total, correct = len(predictions.targets), int(predictions.correct.sum())
    lost, won = _changes(predictions, reference)
    return MetricComparison(
        "accuracy",
        correct / total,
        wilson_interval(correct, total),
        (lost - won) / total,
        paired_interval(lost, won, total),
    )


def _compare_ranking(name: str, predictions: Predictions, reference: Predictions) -> MetricComparison | None:
    """A metric without a formula for its interval: samples are resampled, in the same way for both models."""
    metric, total = _RESAMPLED[name], len(predictions.targets)
    once = np.ones((1, total))
    value, before = float(metric(predictions, once)[0]), float(metric(reference, once)[0])
    if np.isnan(value):
        return None
    pairs = [(metric(predictions, weights), metric(reference, weights)) for weights in resample_weights(total)]
    resampled, resampled_before = (np.concatenate(values) for values in zip(*pairs, strict=True))
    drop = before - value
    return MetricComparison(name, value, around(value, resampled), drop, around(drop, resampled_before - resampled))


def around(value: float, resampled: Resampled) -> Interval:
    """The percentile interval, extended to the figure itself: with few samples, resampling may miss it on one side."""
    low, high = percentile_interval(resampled)
    return min(low, value), max(high, value)


def _roc_auc(predictions: Predictions, weights: Resampled) -> Resampled:
    return weighted_roc_auc(predictions.scores[:, 1], predictions.targets == 1, weights)


def label_precisions(predictions: Predictions, weights: Resampled) -> Resampled:
    """The average precision of each label, shape (labels, resamples); NaN for a label without samples."""
    columns = zip(predictions.scores.T, (predictions.targets == 1).T, strict=True)
    return np.stack([weighted_average_precision(scores, has_label, weights) for scores, has_label in columns])


def mean_average_precision(predictions: Predictions, weights: Resampled) -> Resampled:
    """The mean of `label_precisions` over the labels that have a sample, shape (resamples,)."""
    precisions = label_precisions(predictions, weights)
    known = ~np.isnan(precisions)
    return ratio(np.where(known, precisions, 0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _micro_f1(predictions: Predictions, weights: Resampled) -> Resampled:
    return weighted_micro_f1(predictions.predicted == 1, predictions.targets == 1, weights)


_RESAMPLED = {"roc_auc": _roc_auc, "mean_average_precision": mean_average_precision, "micro_f1": _micro_f1}


def _label_precisions(predictions: Predictions) -> list[float | None]:
    precisions = label_precisions(predictions, np.ones((1, len(predictions.targets))))[:, 0].tolist()
    return [None if np.isnan(precision) else precision for precision in precisions]


def _confusion_and_recall(predictions: Predictions) -> tuple[npt.NDArray[np.int64], list[float | None]]:
    confusion = confusion_of(predictions.predicted, predictions.targets, predictions.scores.shape[1])
    return confusion, recalls(confusion)
