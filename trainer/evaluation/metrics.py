"""The metrics of each task, computed by scikit-learn from scores and true labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .predictions import DECISION_THRESHOLD, Predictions, Scores, Targets, scores_of_both

#: A curve's points by the name of their axis; the threshold None stands above or below every score.
Curve: TypeAlias = "dict[str, list[float | None]]"

_TOP = 3
#: Keras's epsilon: a lower score of a true label counts as this one in the loss.
_LEAST_SCORE = 1e-7
#: The metrics that come first for a task; models are compared and chosen by them.
HEADLINES = {
    "multiclass": ("accuracy",),
    "binary": ("accuracy", "roc_auc"),
    "multilabel": ("mean_average_precision", "micro_f1"),
}
#: Names that are more than the key with spaces.
_READABLE = {
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "top_3_accuracy": "top-3 accuracy",
    "true_positive_rate": "true positive rate (recall)",
}


def readable(name: str) -> str:
    """The name of a metric as people read it."""
    return _READABLE.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Metrics:
    """The metrics of a classifier on one split.

    Attributes:
        accuracy: share of correct predictions, 0 to 1; for `multilabel`, of the samples with every label correct.
        per_class: label to precision, recall, f1 (0 to 1; 0 where undefined) and support (samples); for `multilabel`
            average_precision too.
        confusion: int array; rows are true labels, columns predicted labels. The shape is (classes, classes); for
            `multilabel` (labels, 2, 2), without the label first.
        task: `"multiclass"`, `"binary"` or `"multilabel"`.
        figures: further metrics of the task, 0 to 1, without those that are undefined. `multiclass`: top_3_accuracy,
            from four classes on. `binary`: roc_auc, average_precision, of the second label. `multilabel`:
            mean_average_precision (over the labels that have a sample), micro_f1, macro_f1.
        curves: for `binary`, from the highest threshold to the lowest: roc (false_positive_rate, true_positive_rate,
            threshold) and precision_recall (recall, precision, threshold).
        decision: the score from which on a label was predicted.
    """

    accuracy: float
    per_class: dict[str, dict[str, float]]
    confusion: npt.NDArray[np.int64]
    task: str = "multiclass"
    figures: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    decision: float = DECISION_THRESHOLD

    def headline(self) -> dict[str, float]:
        """The task's metrics in `HEADLINES` that are defined, by name."""
        figures = {"accuracy": self.accuracy, **self.figures}
        return {name: figures[name] for name in HEADLINES[self.task] if name in figures}

    def headline_text(self) -> str:
        """The headline metrics in words: `"accuracy 0.9778, ROC AUC 0.9919"`."""
        return ", ".join(f"{readable(name)} {value:.4f}" for name, value in self.headline().items())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        figures = {"task": self.task, "accuracy": self.accuracy, **self.figures, "per_class": self.per_class}
        return figures | {"confusion": self.confusion.tolist()} | ({"curves": self.curves} if self.curves else {})


def compute_metrics(
    scores: Scores,
    targets: Targets,
    labels: tuple[str, ...],
    task: str = "multiclass",
    decision: float = DECISION_THRESHOLD,
) -> Metrics:
    """All metrics of a task.

    Args:
        scores: probabilities, shape (n, classes); for `binary` the second label's, shape (n,) or (n, 1), or both.
        targets: int, shape (n,), n at least 1; for `multilabel` 0 or 1, shape (n, labels).
        labels: names of the classes.
        task: `"multiclass"`, `"binary"` or `"multilabel"`.
        decision: as in `Predictions`.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    predictions = Predictions(scores_of_both(scores) if task == "binary" else scores, targets, task, decision=decision)
    predicted = predictions.predicted
    classes = None if task == "multilabel" else range(len(labels))
    columns = precision_recall_fscore_support(targets, predicted, labels=classes, zero_division=0)
    per_class = _per_class(labels, columns)
    curves: dict[str, Curve] = {}
    if task == "multilabel":
        figures = _label_figures(predictions, per_class)
    elif task == "binary":
        figures, curves = binary_figures(predictions.scores[:, 1], targets)
    else:
        figures = _multiclass_figures(scores, targets)
    confusion = confusion_of(predicted, targets, len(labels))
    return Metrics(float(accuracy_score(targets, predicted)), per_class, confusion, task, figures, curves, decision)


def averages(metrics: Metrics) -> dict[str, dict[str, float]]:
    """The means over the classes of each figure in `Metrics.per_class`, by name, and the total support.

    `macro` counts every class the same, `weighted` by its support. A class that has no sample and is never predicted is
    left out; so is a label without samples from the macro average of `average_precision`, which it does not have.
    """
    rows = [*metrics.per_class.values()]
    support = np.array([row["support"] for row in rows], np.float64)
    counted = np.ones(len(rows), bool)
    if metrics.task != "multilabel":
        counted = (support > 0) | (metrics.confusion.sum(axis=0) > 0)
    found: dict[str, dict[str, float]] = {"macro": {}, "weighted": {}}
    for name in rows[0].keys() - {"support"}:
        values = np.array([row[name] for row in rows])
        places = support > 0 if name == "average_precision" else counted
        found["macro"][name] = float(values[places].mean()) if places.any() else 0.0
        found["weighted"][name] = float(values @ support / max(1.0, support.sum()))
    return {
        name: {**{key: row[key] for key in rows[0] if key in row}, "support": int(support.sum())}
        for name, row in found.items()
    }


def cross_entropy(scores: Scores, targets: Targets, task: str = "multiclass") -> float:
    """The loss that Keras calls cross-entropy, the mean over the samples, without label smoothing.

    For `multiclass` it is the categorical cross-entropy, otherwise the binary one, for `multilabel` the mean over the
    labels.

    Args:
        scores: probabilities, shape (n, classes); for `binary` those of both labels.
        targets: as for `compute_metrics`.
    """
    if task == "multilabel":
        of_truth = np.where(targets == 1, scores, 1 - scores)
    else:
        of_truth = scores[np.arange(len(targets)), targets]
    return float(-np.log(np.clip(of_truth.astype(np.float64), _LEAST_SCORE, 1.0)).mean())


def describe_chance(metrics: Metrics, labels: tuple[str, ...], *, balanced: bool) -> str:
    """A line that says that a classifier is hardly better than chance; "" where it is clearly better.

    Chance is to answer always with the largest class; for `balanced`, to be right equally often for each class by
    guessing; for `multilabel`, to give scores that say nothing. A gain of up to one standard error is no clear one.

    Args:
        metrics: of the validation split.
        labels: names of the classes.
        balanced: whether each class counts the same.
    """
    confusion = metrics.confusion
    if metrics.task == "multilabel":
        present = confusion[:, 1].sum(axis=1)
        total, count = int(confusion[0].sum()), int((present > 0).sum())
        value, chance = metrics.figures.get("mean_average_precision", 1.0), float(present.sum() / max(1, total * count))
        name, subject = "mean average precision", "scores that say nothing"
    else:
        counts = confusion.sum(axis=1)
        total, largest = int(counts.sum()), int(counts.argmax())
        found = [recall for recall in recalls(confusion) if recall is not None]
        value, chance = metrics.accuracy, float(counts[largest] / total)
        name, subject = "accuracy", f"always answering {labels[largest]!r}, the largest class,"
        if balanced:
            value, chance, name, subject = float(np.mean(found)), 1 / len(found), "balanced accuracy", "guessing"
    if value > chance + float(np.sqrt(chance * (1 - chance) / total)):
        return ""
    return (
        f"the network has learnt nothing that shows: its {name} on the validation split is {value:.4f}, and {subject} "
        f"would give {chance:.4f}; lower the learning rate or let it be searched, train for more epochs, or look at "
        "the data"
    )


def _multiclass_figures(scores: Scores, targets: Targets) -> dict[str, float]:
    from sklearn.metrics import top_k_accuracy_score

    classes = scores.shape[1]
    if classes <= _TOP:
        return {}
    return {"top_3_accuracy": float(top_k_accuracy_score(targets, scores, k=_TOP, labels=range(classes)))}


def binary_figures(scores: Scores, targets: Targets) -> tuple[dict[str, float], dict[str, Curve]]:
    """`Metrics.figures` and `Metrics.curves` of one label, as for `binary`; empty where all samples have one class.

    Args:
        scores: of the label, shape (n,).
        targets: 1 where a sample has it, else 0, shape (n,).
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    if not 0 < targets.sum() < len(targets):  # with one class alone they are undefined
        return {}, {}
    figures = {
        "roc_auc": float(roc_auc_score(targets, scores)),
        "average_precision": float(average_precision_score(targets, scores)),
    }
    false_positives, true_positives, thresholds = roc_curve(targets, scores)
    roc: Curve = {
        "false_positive_rate": false_positives.tolist(),
        "true_positive_rate": true_positives.tolist(),
        "threshold": [None, *thresholds[1:].tolist()],
    }
    precision, recall, thresholds = precision_recall_curve(targets, scores, drop_intermediate=True)
    precision_recall: Curve = {
        "recall": recall[::-1].tolist(),
        "precision": precision[::-1].tolist(),
        "threshold": [None, *thresholds[::-1].tolist()],
    }
    return figures, {"roc": roc, "precision_recall": precision_recall}


def _label_figures(predictions: Predictions, per_class: dict[str, dict[str, float]]) -> dict[str, float]:
    """The figures of multilabel. Adds each label's average precision to `per_class`; 0 for one without samples."""
    from sklearn.metrics import average_precision_score, f1_score

    columns = zip(per_class.values(), predictions.targets.T, predictions.scores.T, strict=True)
    for row, has_label, scores in columns:
        row["average_precision"] = float(average_precision_score(has_label, scores)) if has_label.any() else 0.0
    precisions = [row["average_precision"] for row in per_class.values() if row["support"]]
    figures = {"mean_average_precision": float(np.mean(precisions))} if precisions else {}
    for average in ("micro", "macro"):
        f1 = f1_score(predictions.targets, predictions.predicted, average=average, zero_division=0)
        figures[f"{average}_f1"] = float(f1)
    return figures


def _per_class(labels: tuple[str, ...], columns: Iterable[Any]) -> dict[str, dict[str, float]]:
    return {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for label, p, r, f, n in zip(labels, *columns, strict=True)
    }


def confusion_of(predicted: Targets, targets: Targets, classes: int) -> npt.NDArray[np.int64]:
    """The confusion matrix as in `Metrics`: shape (classes, classes), or (labels, 2, 2) for 0 or 1 of (n, labels)."""
    from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

    counts: npt.NDArray[np.int64] = (
        multilabel_confusion_matrix(targets, predicted)
        if targets.ndim == 2
        else confusion_matrix(targets, predicted, labels=range(classes))
    )
    return counts


def recalls(confusion: npt.NDArray[np.int64]) -> list[float | None]:
    """The share of each class's samples that is predicted correctly; None for a class without samples.

    Args:
        confusion: from `confusion_of`.
    """
    if confusion.ndim == 3:
        correct, support = confusion[:, 1, 1], confusion[:, 1].sum(axis=1)
    else:
        correct, support = np.diag(confusion), confusion.sum(axis=1)
    return [int(n) / int(m) if m else None for n, m in zip(correct, support, strict=True)]


def percent_of_true_class(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """A confusion matrix of shape (classes, classes) in percent of each true class; 0 for a class without samples."""
    percent: npt.NDArray[np.float64] = 100 * confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    return percent
