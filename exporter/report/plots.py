"""Draws the figures that only the report contains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from trainer.evaluation.comparison import metric_title
from trainer.plots.figure import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The largest number of classes in a drawing; those that changed most are chosen.
_MAX_CHANGES = 25


def draw_class_changes(
    before: Sequence[float | None],
    after: Sequence[float | None],
    labels: Sequence[str],
    mode: str,
    metric: str = "recall",
) -> Figure:
    """Draw how much each class's recall, or another metric, rose or fell from float32 to `mode`, in points."""
    changes = [
        (100 * (a - b), label)
        for a, b, label in zip(after, before, labels, strict=True)
        if a is not None and b is not None
    ]
    drawn = sorted(sorted(changes, key=lambda c: -abs(c[0]))[:_MAX_CHANGES], key=lambda c: -c[0])
    figure = Figure(figsize=(7, 1.2 + 0.28 * len(drawn)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.barh(range(len(drawn)), [c for c, _ in drawn], color=["#b03030" if c < 0 else "#30a060" for c, _ in drawn])
    axes.set_yticks(range(len(drawn)), [shorten(label) for _, label in drawn], parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"change of {metric} from float32 to {mode}, points")
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_sizes(models: Sequence[dict[str, Any]]) -> Figure:
    """Draw the first of the task's metrics, with its 95 % interval, by the size of each file.

    Args:
        models: entries of `report.json`.
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes: Axes = figure.subplots()
    for model in models:
        metric = model["metrics"][0]
        value, (low, high) = metric["value"], metric["interval"]
        kilobytes = model["bytes"] / 1000
        name = f"{model['file'].partition('.')[0]}: {value:.4f}, {kilobytes:,.0f} kB"
        axes.errorbar(kilobytes, value, yerr=[[value - low], [high - value]], fmt="o", capsize=4, label=name)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_xlabel("size, kB")
    axes.set_ylabel(f"test {metric_title(models[0]['metrics'][0]['name'])}, 95 % interval")
    axes.margins(x=0.1)
    axes.grid(alpha=0.3)
    return figure
