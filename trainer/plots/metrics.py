"""The metrics of a split: confusion, the curves of binary, the labels of multilabel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from runtime.files import shown

from ..evaluation.metrics import Metrics, readable
from ..evaluation.predictions import Predictions
from .confusion import save_confusion
from .figure import save_png, series_style, shorten, show_as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: How many labels are drawn at most, the most frequent; `metrics.json` has all.
_MAX_LABELS = 40
#: How many labels have a curve, the most frequent: the colours and markers of more are hard to tell apart.
_MAX_CURVES = 7


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
    """Draw the ROC curve beside precision by recall, with the decision threshold marked in both.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    for axes, draw in zip(figure.subplots(1, 2), (_draw_roc, _draw_precision_recall), strict=True):
        draw(axes, metrics)
    figure.suptitle(shown(title), parse_math=False)
    save_png(path, figure)


def draw_binary_panels(metrics: Metrics) -> tuple[Figure, Figure]:
    """The same curves, a figure each, for pages that are also read on a phone."""
    figures = (Figure(figsize=(5.6, 4.6), layout="constrained"), Figure(figsize=(5.6, 4.6), layout="constrained"))
    for figure, draw in zip(figures, (_draw_roc, _draw_precision_recall), strict=True):
        draw(figure.subplots(), metrics)
    return figures


def _draw_roc(axes: Any, metrics: Metrics) -> None:
    """The ROC curve with its area, the decision threshold, and the curve of a random guess."""
    curve, (negatives, positives) = metrics.curves["roc"], metrics.confusion.sum(axis=1)
    axes.step(curve["false_positive_rate"], curve["true_positive_rate"], where="post", color=series_style(0)[0])
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="guessing")
    (_, false_positive), (_, true_positive) = metrics.confusion.tolist()
    recall = true_positive / positives
    _mark(axes, false_positive / negatives, recall, f"threshold {metrics.decision:g}: recall {recall:.3f}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    axes.set_title(f"ROC, area {metrics.figures['roc_auc']:.4f}")
    _finish(axes, "lower right")


def _draw_precision_recall(axes: Any, metrics: Metrics) -> None:
    """Precision by recall with the average, the decision threshold, and the curve of a random guess."""
    curve, (negatives, positives) = metrics.curves["precision_recall"], metrics.confusion.sum(axis=1)
    axes.step(curve["recall"], curve["precision"], where="pre", color=series_style(0)[0])
    axes.axhline(positives / (positives + negatives), color="grey", linestyle=":", label="guessing")
    (_, false_positive), (_, true_positive) = metrics.confusion.tolist()
    if true_positive + false_positive:  # else nothing is predicted, and there is no precision
        recall, precision = true_positive / positives, true_positive / (true_positive + false_positive)
        _mark(axes, recall, precision, f"threshold {metrics.decision:g}: precision {precision:.3f}")
    axes.set(xlabel="recall", ylabel="precision")
    axes.set_title(f"average precision {metrics.figures['average_precision']:.4f}")
    _finish(axes, "lower left")


def _finish(axes: Any, place: str) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(loc=place)


def _mark(axes: Axes, x: float, y: float, label: str) -> None:
    """Mark the point of the decision threshold on a curve."""
    axes.plot([x], [y], "o", color="black", markersize=8, fillstyle="none", markeredgewidth=2, label=label)


def draw_label_curves(predictions: Predictions, labels: Sequence[str], title: str = "") -> Figure:
    """Draw precision by recall of the most frequent labels of multilabel, each with the decision threshold marked."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes = figure.subplots()
    support = predictions.targets.sum(axis=0)
    order = [place for place in np.argsort(-support, kind="stable").tolist() if support[place]][:_MAX_CURVES]
    for style, place in enumerate(order):
        true, scores = predictions.targets[:, place], predictions.scores[:, place]
        precision, recall, _ = precision_recall_curve(true, scores, drop_intermediate=True)
        colour, marker = series_style(style)
        area = average_precision_score(true, scores)
        name = f"{shorten(labels[place])}: average precision {area:.3f}"
        axes.step(recall[::-1], precision[::-1], where="pre", color=colour, label=name)
        predicted = predictions.predicted[:, place]
        both = int((predicted & (true == 1)).sum())
        if predicted.any():
            axes.plot(
                [both / support[place]], [both / predicted.sum()], marker, color=colour, markersize=8, mec="black"
            )
    axes.plot([], [], "o", color="grey", mec="black", label=f"predicted from {predictions.decision:g} on")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(alpha=0.3)
    show_as_text(figure.legend(loc="outside lower center", fontsize=8))
    axes.set_title(shown(title), parse_math=False, fontsize=10)
    return figure


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
    axes.set_xlabel(f"precision, recall and F1 of labels that are predicted from {metrics.decision:g} on")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    axes.set_title(shown(title), parse_math=False, fontsize=10)
    save_png(path, figure)
