"""The metrics of a split: confusion, the curves of binary and multilabel, the labels of multilabel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from runtime.files import shown

from ..evaluation.metrics import Curve, Metrics, binary_figures, readable
from ..evaluation.predictions import Predictions
from .confusion import save_confusion
from .figure import save_png, series_style, shorten, show_as_text

#: How many labels are drawn at most, the most frequent; `metrics.json` has all.
_MAX_LABELS = 40
#: How many labels have a curve, the most frequent: the colours and markers of more are hard to tell apart.
_MAX_CURVES = 7
#: Inches that a line of a legend takes.
_LEGEND_LINE = 0.2


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
    save_threshold_curves(folder / "roc.png", metrics, None, title)


def save_threshold_curves(path: Path, metrics: Metrics, predictions: Predictions | None, title: str) -> bool:
    """Draw the ROC curve beside precision by recall, with the decision threshold marked in both.

    Args:
        predictions: the scores behind the metrics, which multilabel needs.

    Returns:
        Whether there are such curves: for binary, and for multilabel the most frequent labels, where a label is present
        in some samples and absent in others.

    Raises:
        OSError: the file cannot be written.
    """
    found = _label_curves(metrics, predictions)
    if found:
        figure = Figure(figsize=(10, 5 + _LEGEND_LINE * len(found)), layout="constrained")
        for axes, kind in zip(figure.subplots(1, 2), _KINDS, strict=True):
            _draw_curves(axes, found, metrics.decision, kind)
        figure.suptitle(shown(title), parse_math=False)
        save_png(path, figure)
    return bool(found)


def draw_threshold_panels(metrics: Metrics, predictions: Predictions) -> dict[str, Figure]:
    """The same curves, a figure each by its name, for pages that are also read on a phone; may be empty."""
    found = _label_curves(metrics, predictions)
    figures = {}
    for kind in _KINDS if found else ():
        figure = figures[kind.name] = Figure(figsize=(4.6, 4.4 + _LEGEND_LINE * len(found)), layout="constrained")
        _draw_curves(figure.subplots(), found, metrics.decision, kind)
    return figures


class _CurveKind(NamedTuple):
    """One way to draw a curve: its name, the keys of its points and of its area in `Metrics`, and how steps go."""

    name: str
    curve: str
    across: str
    up: str
    area: str
    step: Literal["pre", "post"]


_KINDS = (
    _CurveKind("ROC curve", "roc", "false_positive_rate", "true_positive_rate", "roc_auc", "post"),
    _CurveKind("precision by recall", "precision_recall", "recall", "precision", "average_precision", "pre"),
)


class _LabelCurve(NamedTuple):
    """The curves of one label.

    Attributes:
        name: of the label; "" for the task binary, which has one curve.
        figures, curves: from `binary_figures`.
        counts: shape (2, 2), rows are true, columns predicted, without the label first.
    """

    name: str
    figures: Mapping[str, float]
    curves: Mapping[str, Curve]
    counts: npt.NDArray[np.int64]


def _label_curves(metrics: Metrics, predictions: Predictions | None) -> list[_LabelCurve]:
    if metrics.task == "binary" and metrics.curves:
        return [_LabelCurve("", metrics.figures, metrics.curves, metrics.confusion)]
    found: list[_LabelCurve] = []
    if metrics.task == "multilabel" and predictions is not None:
        labels = list(metrics.per_class)
        for place in np.argsort(-predictions.targets.sum(axis=0), kind="stable").tolist():
            figures, curves = binary_figures(predictions.scores[:, place], predictions.targets[:, place])
            if curves and len(found) < _MAX_CURVES:
                found.append(_LabelCurve(labels[place], figures, curves, metrics.confusion[place]))
    return found


def _draw_curves(axes: Any, found: Sequence[_LabelCurve], decision: float, kind: _CurveKind) -> None:
    """Draw one kind of curve of each label, with its area, the decision threshold, and what guessing would give."""
    single = len(found) == 1 and not found[0].name
    for place, each in enumerate(found):
        colour, marker = series_style(place)
        area = f"area {each.figures[kind.area]:.4f}"
        curve, label = each.curves[kind.curve], area if single else f"{shorten(each.name)}: {area}"
        axes.step(curve[kind.across], curve[kind.up], where=kind.step, color=colour, label=label)
        point = _decision_point(each.counts, kind)
        if point is not None:
            size = {"markersize": 9, "markeredgewidth": 1.5, "markeredgecolor": "black", "clip_on": False, "zorder": 3}
            axes.plot(*[[value] for value in point], "o" if single else marker, color=colour, **size)
    if kind.step == "post":
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="guessing")
    elif single:
        axes.axhline(found[0].counts[1].sum() / found[0].counts.sum(), color="grey", linestyle=":", label="guessing")
    axes.plot([], [], "o", color="white", markeredgecolor="black", label=f"threshold {decision:g}")
    axes.set(xlabel=readable(kind.across), ylabel=readable(kind.up), xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_title(kind.name, fontsize=11)
    axes.grid(alpha=0.3)
    show_as_text(axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=9))


def _decision_point(counts: npt.NDArray[np.int64], kind: _CurveKind) -> tuple[float, float] | None:
    """Where on a curve the decision threshold is; None where nothing is predicted, so that there is no precision."""
    (true_negative, false_positive), (false_negative, true_positive) = counts.tolist()
    recall = true_positive / (true_positive + false_negative)
    if kind.curve == "roc":
        return false_positive / (false_positive + true_negative), recall
    predicted = true_positive + false_positive
    return (recall, true_positive / predicted) if predicted else None


def save_labels(path: Path, metrics: Metrics, title: str) -> None:
    """Draw precision, recall, F1 and average precision of each label, the most frequent first, with its support."""
    rows = sorted(metrics.per_class.items(), key=lambda row: -row[1]["support"])[:_MAX_LABELS]
    figure = Figure(figsize=(9, 1.6 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    markers = {"precision": ">", "recall": "<", "f1": "o", "average_precision": "D"}
    for place, (key, marker) in enumerate(markers.items()):
        values = [row[key] for _, row in rows]
        heights = [row + 0.15 * (place - 1.5) for row in range(len(rows))]  # apart from each other: all may be 1
        colour, _ = series_style(place)
        axes.plot(values, heights, marker, color=colour, label=readable(key), clip_on=False)
    names = [f"{shorten(label)} ({int(row['support']):,})" for label, row in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"precision, recall and F1 of labels that are predicted from {metrics.decision:g} on")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    axes.set_title(shown(title), parse_math=False, fontsize=10)
    save_png(path, figure)
