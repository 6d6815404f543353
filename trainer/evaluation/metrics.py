"""Figures from scores and targets: no files, no pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Scores: TypeAlias = npt.NDArray[np.float32]
Targets: TypeAlias = npt.NDArray[Any]
#: A curve's points, by what is on its axes; a threshold of None stands above every score, or below.
Curve: TypeAlias = "dict[str, list[float | None]]"

#: From this probability on a label of `binary` and `multilabel` is taken to be there.
DECISION = 0.5
_TOP = 3
#: By task: the figures that a person asks for first.
_HEADLINES = {
    "multiclass": ("accuracy",),
    "binary": ("accuracy", "roc_auc"),
    "multilabel": ("mean_average_precision", "micro_f1"),
}


#: As people read them, where that is not the name with spaces.
_READABLE = {"roc_auc": "ROC AUC", "micro_f1": "micro F1", "macro_f1": "macro F1", "top_3_accuracy": "top-3 accuracy"}


def readable(name: str) -> str:
    """The name of a figure as people read it."""
    return _READABLE.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Metrics:
    """How a classifier did on one split.

    Attributes:
        accuracy: share of right answers, 0 to 1; of `multilabel`, of the pictures that have every label right.
        per_class: label to precision, recall, f1 (0 to 1; 0 where undefined) and support (pictures); of `multilabel`
            average_precision too.
        confusion: int array; rows are the truth, columns the answers. Of shape (classes, classes); of `multilabel`
            (labels, 2, 2): without the label, with it.
        task: `"multiclass"`, `"binary"` or `"multilabel"`.
        figures: what else the task has, 0 to 1, left out where undefined. `multiclass`: top_3_accuracy, from four
            classes on. `binary`: roc_auc, average_precision, of the second label. `multilabel`:
            mean_average_precision (of the labels that have a picture), micro_f1, macro_f1.
        curves: of `binary`, from the highest threshold to the lowest: roc (false_positive_rate, true_positive_rate,
            threshold) and precision_recall (recall, precision, threshold).
    """

    accuracy: float
    per_class: dict[str, dict[str, float]]
    confusion: npt.NDArray[np.int64]
    task: str = "multiclass"
    figures: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)

    def headline(self) -> dict[str, float]:
        """The figures of the task that a person asks for first, by name."""
        found = {"accuracy": self.accuracy, **self.figures}
        return {name: found[name] for name in _HEADLINES[self.task] if name in found}

    def told(self) -> str:
        """The same in words: `"accuracy 0.9778, ROC AUC 0.9919"`."""
        return ", ".join(f"{readable(name)} {value:.4f}" for name, value in self.headline().items())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        figures = {"task": self.task, "accuracy": self.accuracy, **self.figures, "per_class": self.per_class}
        return figures | {"confusion": self.confusion.tolist()} | ({"curves": self.curves} if self.curves else {})


def evaluate(scores: Scores, targets: Targets, labels: tuple[str, ...], task: str = "multiclass") -> Metrics:
    """Metrics of scores against targets, by scikit-learn.

    Args:
        scores: probabilities, shape (n, classes); of `binary` the second label's, shape (n,) or (n, 1), or both.
        targets: int, shape (n,), n at least 1; of `multilabel` 0 or 1, shape (n, labels).
        labels: names of the classes.
        task: of the contract.
    """
    if task == "binary":
        return _binary(scores.reshape(len(targets), -1)[:, -1], targets, labels)
    return (_multilabel if task == "multilabel" else _multiclass)(scores, targets, labels)


def _multiclass(scores: Scores, targets: Targets, labels: tuple[str, ...]) -> Metrics:
    from sklearn.metrics import top_k_accuracy_score

    figures, classes = {}, np.arange(len(labels))
    if len(labels) > _TOP:
        figures["top_3_accuracy"] = float(top_k_accuracy_score(targets, scores, k=_TOP, labels=classes))
    return _of_answers(scores.argmax(axis=1), targets, labels, "multiclass", figures, {})


def _of_answers(
    answers: npt.NDArray[np.int64],
    targets: Targets,
    labels: tuple[str, ...],
    task: str,
    figures: dict[str, float],
    curves: dict[str, Curve],
) -> Metrics:
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    classes = range(len(labels))
    columns = precision_recall_fscore_support(targets, answers, labels=classes, zero_division=0)
    confusion = confusion_matrix(targets, answers, labels=classes)
    return Metrics(
        float(accuracy_score(targets, answers)), _per_class(labels, columns), confusion, task, figures, curves
    )


def _binary(scores: Scores, targets: Targets, labels: tuple[str, ...]) -> Metrics:
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    figures, curves = {}, {}
    if 0 < targets.sum() < len(targets):  # of one class alone there is no curve
        figures["roc_auc"] = float(roc_auc_score(targets, scores))
        figures["average_precision"] = float(average_precision_score(targets, scores))
        false, true, thresholds = roc_curve(targets, scores)
        curves["roc"] = {
            "false_positive_rate": false.tolist(),
            "true_positive_rate": true.tolist(),
            "threshold": [None, *thresholds[1:].tolist()],
        }
        precision, recall, thresholds = precision_recall_curve(targets, scores, drop_intermediate=True)
        curves["precision_recall"] = {
            "recall": recall[::-1].tolist(),
            "precision": precision[::-1].tolist(),
            "threshold": [None, *thresholds[::-1].tolist()],
        }
    return _of_answers((scores > DECISION).astype(np.int64), targets, labels, "binary", figures, curves)


def _multilabel(scores: Scores, targets: Targets, labels: tuple[str, ...]) -> Metrics:
    from sklearn.metrics import (
        accuracy_score,
        average_precision_score,
        f1_score,
        multilabel_confusion_matrix,
        precision_recall_fscore_support,
    )

    answers = (scores >= DECISION).astype(np.int64)
    columns = precision_recall_fscore_support(targets, answers, average=None, zero_division=0)
    per_class = _per_class(labels, columns)
    for column, label in enumerate(labels):
        has_any = targets[:, column].any()
        found = float(average_precision_score(targets[:, column], scores[:, column])) if has_any else 0.0
        per_class[label]["average_precision"] = found
    precisions = [row["average_precision"] for row in per_class.values() if row["support"]]
    figures = {"mean_average_precision": float(np.mean(precisions))} if precisions else {}
    for average in ("micro", "macro"):
        figures[f"{average}_f1"] = float(f1_score(targets, answers, average=average, zero_division=0))
    confusion = multilabel_confusion_matrix(targets, answers)
    return Metrics(float(accuracy_score(targets, answers)), per_class, confusion, "multilabel", figures)


def _per_class(labels: tuple[str, ...], columns: Iterable[Any]) -> dict[str, dict[str, float]]:
    return {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for label, p, r, f, n in zip(labels, *columns, strict=True)
    }
