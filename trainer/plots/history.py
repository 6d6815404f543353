"""Curves of several trainings in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from .figure import save_png

#: Okabe and Ito's colours, told apart by the colour-blind too, and dashes and markers beside them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_LONGEST_NAME = 60
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def save_comparison(path: Path, names: Sequence[str], histories: Sequence[list[dict[str, float]]]) -> None:
    """Loss, and accuracy or what the best epoch is chosen by, of every run; validation drawn through, training dotted.

    Args:
        names: of the runs.
        histories: one row an epoch each, as `RunFolder.history`.

    Raises:
        OSError: it cannot be written.
    """
    figure = Figure(figsize=(12, 4.8 + 0.22 * len(names)), layout="constrained")
    axes = figure.subplots(1, 2)
    precise = all("mean_average_precision" in history[0] for history in histories)
    metrics = ("loss", "mean_average_precision" if precise else "accuracy")
    for place, (name, history) in enumerate(zip(names, histories, strict=True)):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place // len(COLOURS) % len(MARKERS)]
        every = max(1, len(history) // 12)
        for one, metric in zip(axes, metrics, strict=True):
            epochs = [row["epoch"] for row in history]
            one.plot(epochs, [row[metric] for row in history], color=colour, linestyle=":", linewidth=1)
            label = name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"  # paths differ at their end
            values = [row[f"val_{metric}"] for row in history]
            one.plot(epochs, values, color=colour, marker=marker, markevery=(place % every, every), label=label)
    for one, metric in zip(axes, metrics, strict=True):
        one.set_xlabel("epoch")
        one.set_ylabel(f"{metric.replace('_', ' ')} (through: validation, dotted: training)")
        one.xaxis.get_major_locator().set_params(integer=True)
        one.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=1 if len(names) < 7 else 2, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save_png(path, figure)
