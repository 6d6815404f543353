"""Draws the figures that only the report contains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from trainer.evaluation.comparison import metric_title
from trainer.plots.figure import series_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_sizes(models: Sequence[dict[str, Any]]) -> Figure:
    """Draw the first of the task's metrics, with its 95 % interval, by the size of each file.

    Args:
        models: entries of `report.json`.
    """
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes: Axes = figure.subplots()
    for place, model in enumerate(models):
        colour, marker = series_style(place)
        metric = model["metrics"][0]
        value, (low, high) = metric["value"], metric["interval"]
        kilobytes = model["bytes"] / 1000
        name = f"{model['file'].partition('.')[0]}: {value:.4f}, {kilobytes:,.0f} kB"
        axes.errorbar(
            kilobytes, value, yerr=[[value - low], [high - value]], fmt=marker, color=colour, capsize=4, label=name
        )
    figure.legend(loc="outside upper left", fontsize=9)
    axes.set_xlabel("size, kB")
    axes.set_ylabel(f"test {metric_title(models[0]['metrics'][0]['name'])}, 95 % interval")
    axes.margins(x=0.1)
    axes.grid(alpha=0.3)
    return figure
