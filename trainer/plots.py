"""Pictures from figures; nothing is trained or measured here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure  # without pyplot: no display, no global state

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .learning_rate import Sweep

#: Above this many classes the numbers in the cells would only be a smear.
_MAX_NUMBERED = 25


def save_curves(path: Path, history: list[dict[str, float]], best_epoch: int) -> None:
    """Loss and accuracy of training and validation over the epochs, the kept epoch marked."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = [row["epoch"] for row in history]
        for prefix, name in (("", "training"), ("val_", "validation")):
            axes.plot(epochs, [row[prefix + metric] for row in history], marker=".", label=name)
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(metric)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def save_sweep(path: Path, sweep: Sweep) -> None:
    """The loss over the learning rate, on a logarithmic axis, with what is suggested."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(sweep.rates, sweep.losses, color="lightgrey", label="each batch")
    axes.semilogx(sweep.rates, sweep.smoothed, label="smoothed")
    for rate, style, name in (
        (sweep.steepest, "--", "steepest"),
        (sweep.suggestion, "-", "a tenth of the minimum"),
        (sweep.minimum, ":", "minimum"),
    ):
        axes.axvline(rate, color="black", linestyle=style, linewidth=1, label=f"{name}: {rate:.2g}")
    # A loss that explodes at the end would press the valley flat.
    axes.set_ylim(top=1.2 * float(sweep.smoothed[: len(sweep.smoothed) // 2 + 1].max()))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=110, format="png")


def save_confusion(path: Path, confusion: npt.NDArray[np.int64], labels: tuple[str, ...], title: str) -> None:
    """The confusion matrix: counts in the cells, shades by the share of each true class."""
    side = min(20.0, 3.5 + 0.45 * len(labels))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes: Axes = figure.subplots()
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    ticks: list[Any] = list(range(len(labels)))
    axes.set_xticks(ticks, labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, labels)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.set_title(title)
    if len(labels) <= _MAX_NUMBERED:
        for (row, column), count in np.ndenumerate(confusion):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    figure.savefig(path, dpi=110)
