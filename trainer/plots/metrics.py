"""The metrics of a split: confusion, the curves of binary, the labels of multilabel."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from runtime.files import shown

from ..evaluation.metrics import Metrics, readable
from ..evaluation.predictions import DECISION_THRESHOLD
from .confusion import save_confusion
from .figure import save_png, shorten

#: How many labels are drawn at most, the most frequent; `metrics.json` has all.
_MAX_LABELS = 40


def save_task_pictures(folder: Path, metrics: Metrics, name: str) -> None:
    """Draw `confusion.png`, or `labels.png` for multilabel, and `roc.png` for binary, of the test split.

    Args:
        name: of the data set.
    """
    title = f"{name}, test split: {metrics.headline_text()}"
    if metrics.task == "multilabel":
        save_labels(folder / "labels.png", metrics, title)
        return
    save_confusion(folder / "confusion.png", metrics.confusion, list(metrics.per_class), title)
    if metrics.curves:
        save_binary_curves(folder / "roc.png", metrics, title)


def save_binary_curves(path: Path, metrics: Metrics, title: str) -> None:
    """Draw the ROC curve beside precision by recall, each with its area, and the curves of a random guess."""
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    roc, precision_recall = metrics.curves["roc"], metrics.curves["precision_recall"]
    negatives, positives = metrics.confusion.sum(axis=1)
    share = positives / (positives + negatives)
    left.step(roc["false_positive_rate"], roc["true_positive_rate"], where="post")
    left.plot([0, 1], [0, 1], color="grey", linestyle=":", label="guessing")
    left.set_xlabel("false positive rate")
    left.set_ylabel("true positive rate")
    left.set_title(f"ROC, area {metrics.figures['roc_auc']:.4f}")
    right.step(precision_recall["recall"], precision_recall["precision"], where="pre")
    right.axhline(share, color="grey", linestyle=":", label="guessing")
    right.set_xlabel("recall")
    right.set_ylabel("precision")
    right.set_title(f"average precision {metrics.figures['average_precision']:.4f}")
    for axes in (left, right):
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left" if axes is right else "lower right")
    figure.suptitle(shown(title), parse_math=False)
    save_png(path, figure)


def save_labels(path: Path, metrics: Metrics, title: str) -> None:
    """Draw precision, recall, F1 and average precision of each label, the most frequent first, with its support."""
    rows = sorted(metrics.per_class.items(), key=lambda row: -row[1]["support"])[:_MAX_LABELS]
    figure = Figure(figsize=(9, 1.6 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    markers = {"precision": ">", "recall": "<", "f1": "o", "average_precision": "D"}
    for place, (key, marker) in enumerate(markers.items()):
        values = [row[key] for _, row in rows]
        heights = [row + 0.15 * (place - 1.5) for row in range(len(rows))]  # apart from each other: all may be 1
        axes.plot(values, heights, marker, label="F1" if key == "f1" else readable(key), clip_on=False)
    names = [f"{shorten(label)} ({int(row['support']):,})" for label, row in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"precision, recall and F1 of labels that are predicted from {DECISION_THRESHOLD} on")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    axes.set_title(shown(title), parse_math=False, fontsize=10)
    save_png(path, figure)
