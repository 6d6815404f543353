"""Curves over a training: loss and metrics by epoch, of one run or several, and the loss by learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .figure import save_png, series_style, show_as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST_NAME = 60


def save_curves(path: Path, history: list[dict[str, float]], best_epoch: int, metric: str = "accuracy") -> None:
    """Draw loss, and accuracy or another metric, of training and validation by epoch; the kept epoch is marked.

    The learning rate at the end of each epoch is a thin line in the plot of the loss.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", metric), strict=True):
        _draw_curve(axes, history, name, best_epoch)
    save_png(path, figure)


def draw_curve_panels(history: list[dict[str, float]], best_epoch: int | None) -> dict[str, Figure]:
    """The same curves, a figure each by the name of the metric, for pages that are also read on a phone."""
    figures = {}
    for name in ("loss", headline_metric([history])):
        figure = figures[name.replace("_", " ")] = Figure(figsize=(4.6, 3.5), layout="constrained")
        _draw_curve(figure.subplots(), history, name, best_epoch)
    return figures


def headline_metric(histories: Sequence[list[dict[str, float]]]) -> str:
    """The metric that is drawn beside the loss: the one for several labels where all runs have it, or accuracy."""
    precise = all("mean_average_precision" in history[0] for history in histories)
    return "mean_average_precision" if precise else "accuracy"


def _draw_curve(axes: Axes, history: list[dict[str, float]], name: str, best_epoch: int | None) -> None:
    epochs = [row["epoch"] for row in history]
    for place, (prefix, split) in enumerate((("", "training"), ("val_", "validation"))):
        axes.plot(
            epochs, [row[prefix + name] for row in history], marker=".", label=split, color=series_style(place)[0]
        )
    if best_epoch is not None:
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(name.replace("_", " "))
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    if name == "loss" and "learning_rate" in history[0]:
        _draw_learning_rate(axes, epochs, [row["learning_rate"] for row in history])
    else:
        axes.legend()


def _draw_learning_rate(panel: Axes, epochs: Sequence[float], rates: Sequence[float]) -> None:
    """Draw the learning rate with an axis of its own, and the legend of the panel."""
    axes = panel.twinx()
    axes.plot(epochs, rates, color="dimgrey", linewidth=0.8, label="learning rate")
    axes.set_ylim(0, 1.1 * max(rates) or 1)
    axes.set_ylabel("learning rate")
    axes.legend(handles=[*panel.get_legend_handles_labels()[0], *axes.get_legend_handles_labels()[0]])


def save_sweep(
    path: Path,
    rates: npt.NDArray[np.float64],
    losses: npt.NDArray[np.float64],
    smoothed: npt.NDArray[np.float64],
    marks: Mapping[str, float],
) -> None:
    """Draw the loss by learning rate, on a logarithmic axis, with vertical lines at marked rates.

    Args:
        rates, losses, smoothed: shape (steps,).
        marks: up to three rates by name.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, losses, color="lightgrey", label="each batch")
    axes.semilogx(rates, smoothed, color=series_style(0)[0], label="smoothed")
    for (name, rate), style in zip(marks.items(), ("--", "-", ":"), strict=False):
        axes.axvline(rate, color="black", linestyle=style, linewidth=1, label=f"{name}: {rate:.2g}")
    # Without a limit, a loss that explodes at the end would flatten the rest of the curve.
    axes.set_ylim(top=1.2 * float(smoothed[: len(smoothed) // 2 + 1].max()))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    save_png(path, figure)


def save_comparison(path: Path, names: Sequence[str], histories: Sequence[list[dict[str, float]]]) -> None:
    """Draw loss, and accuracy or mean average precision, of every run; validation as solid lines, training dotted.

    Args:
        names: of the runs.
        histories: one row an epoch each, as in `RunFolder.history`.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(12, 4.8 + 0.22 * len(names)), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, metric in zip(panels, ("loss", headline_metric(histories)), strict=True):
        _draw_runs(axes, metric, names, histories)
    _add_legend(figure, panels[0], columns=1 if len(names) < 7 else 2)
    save_png(path, figure)


def draw_comparison_panels(names: Sequence[str], histories: Sequence[list[dict[str, float]]]) -> dict[str, Figure]:
    """The same curves, a figure each by the name of the metric, for pages that are also read on a phone."""
    figures = {}
    for metric in ("loss", headline_metric(histories)):
        size = (4.6, 3.5 + 0.22 * len(names))
        figure = figures[metric.replace("_", " ")] = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        _draw_runs(axes, metric, names, histories)
        axes.set_ylabel(metric.replace("_", " "))
        _add_legend(figure, axes, columns=1)
    return figures


def _draw_runs(axes: Axes, metric: str, names: Sequence[str], histories: Sequence[list[dict[str, float]]]) -> None:
    for place, (name, history) in enumerate(zip(names, histories, strict=True)):
        colour, marker = series_style(place)
        every = max(1, len(history) // 12)
        epochs = [row["epoch"] for row in history]
        label = name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"  # paths differ at their end
        axes.plot(epochs, [row[metric] for row in history], color=colour, linestyle=":", linewidth=1)
        values = [row[f"val_{metric}"] for row in history]
        axes.plot(epochs, values, color=colour, marker=marker, markevery=(place % every, every), label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{metric.replace('_', ' ')} (solid: validation, dotted: training)")
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)


def _add_legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    show_as_text(figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8))
