"""Pictures for the report, as PNG bytes: the same figures give the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure  # without pyplot: no display, no global state

from trainer.evaluation.calibration_error import Reliability
from trainer.evaluation.comparison import metric_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Above this many classes numbers in cells, and names beside them, would only be a smear.
_MAX_NAMED = 25
_MAX_CHANGES = 25
_LONGEST_NAME = 24


def shorten(text: str, length: int = _LONGEST_NAME) -> str:
    """A label that fits a picture."""
    return text if len(text) <= length else text[: length - 1] + "…"


def png(figure: Figure) -> bytes:
    """The figure as a PNG, without the date and the library's version."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign that the font lacks is drawn as a box
        figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def confusion(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], labels: Sequence[str], mode: str) -> bytes:
    """Two confusion matrices side by side, shades by the share of each true class."""
    side = min(9.0, 2.5 + 0.4 * min(len(labels), _MAX_NAMED))
    figure = Figure(figsize=(2 * side + 1, side), layout="constrained")
    for axes, counts, title in zip(figure.subplots(1, 2), (before, after), ("float32", mode), strict=True):
        _confusion(axes, counts, labels)
        axes.set_title(title)
    return png(figure)


def _confusion(axes: Axes, counts: npt.NDArray[np.int64], labels: Sequence[str]) -> None:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    if len(labels) > _MAX_NAMED:
        return
    ticks: list[Any] = list(range(len(labels)))
    names = [shorten(label, 14) for label in labels]
    # parse_math: a label with dollar signs is no formula.
    axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)


def class_change(
    before: Sequence[float | None],
    after: Sequence[float | None],
    labels: Sequence[str],
    mode: str,
    metric: str = "recall",
) -> bytes:
    """What each class's recall, or another figure, gained or lost, in points; the most changed of many."""
    changes = [
        (100 * (a - b), label)
        for a, b, label in zip(after, before, labels, strict=True)
        if a is not None and b is not None
    ]
    kept = sorted(sorted(changes, key=lambda c: -abs(c[0]))[:_MAX_CHANGES], key=lambda c: -c[0])
    figure = Figure(figsize=(7, 1.2 + 0.28 * len(kept)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.barh(range(len(kept)), [c for c, _ in kept], color=["#b03030" if c < 0 else "#30a060" for c, _ in kept])
    axes.set_yticks(range(len(kept)), [shorten(label) for _, label in kept], parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"change of {metric} from float32 to {mode}, points")
    axes.grid(axis="x", alpha=0.3)
    return png(figure)


def reliability_diagram(curves: Mapping[str, Reliability], *, of_labels: bool = False) -> bytes:
    """Share of right answers over the score, and how many pictures have such a score.

    Args:
        of_labels: of multilabel: share of the pictures that have the label.
    """
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="scores that are probabilities")
    for (name, found), colour in zip(curves.items(), ("#3060b0", "#d07020", "#30a060"), strict=False):
        filled = np.array(found.counts) > 0
        label = f"{name}: expected calibration error {found.error:.4f}"
        upper.plot(
            np.array(found.confidence)[filled], np.array(found.accuracy)[filled], "o-", color=colour, label=label
        )
        edges = np.linspace(0, 1, len(found.counts) + 1)
        lower.stairs(found.counts, edges, color=colour)
    upper.set_ylabel("share that is there" if of_labels else "share of right answers")
    upper.legend(loc="lower right" if of_labels else "upper left")
    upper.grid(alpha=0.3)
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylabel("labels" if of_labels else "images")
    lower.set_xlabel("score of a label" if of_labels else "highest score")
    return png(figure)


def size_accuracy(models: Sequence[dict[str, Any]]) -> bytes:
    """Accuracy, or what the task has in its place, with its 95 % interval over the size of each file."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes: Axes = figure.subplots()
    for model in models:
        metric = model["metrics"][0]
        accuracy, (low, high) = metric["value"], metric["interval"]
        kilobytes = model["bytes"] / 1000
        name = f"{model['file'].partition('.')[0]}: {accuracy:.4f}, {kilobytes:,.0f} kB"
        axes.errorbar(kilobytes, accuracy, yerr=[[accuracy - low], [high - accuracy]], fmt="o", capsize=4, label=name)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_xlabel("size, kB")
    axes.set_ylabel(f"test {metric_title(models[0]['metrics'][0]['name'])}, 95 % interval")
    axes.margins(x=0.1)
    axes.grid(alpha=0.3)
    return png(figure)
