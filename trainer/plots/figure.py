"""Pictures from figures; nothing is trained or measured here. The same figures give the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure  # without pyplot: no display, no global state

from runtime.files import shown

from ..files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Above this many classes the numbers in the cells would only be a smear, and above the second number the names.
_MAX_NUMBERED = 25
_MAX_NAMED = 60
_LONGEST_NAME = 24


def shorten(text: str, length: int = _LONGEST_NAME) -> str:
    """Text from outside that fits a picture: matplotlib takes none with undecodable bytes in it."""
    text = shown(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def save_png(path: Path, figure: Figure) -> None:
    """Write the figure, whole or not at all, without the date and the library's version."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign that the font lacks is drawn as a box
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_whole(path, buffer.getvalue())


def save_curves(path: Path, history: list[dict[str, float]], best_epoch: int, metric: str = "accuracy") -> None:
    """Loss and accuracy, or another metric, of training and validation over the epochs, the kept epoch marked."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("loss", metric), strict=True):
        epochs = [row["epoch"] for row in history]
        for prefix, name in (("", "training"), ("val_", "validation")):
            axes.plot(epochs, [row[prefix + what] for row in history], marker=".", label=name)
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(what.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    save_png(path, figure)


def save_sweep(
    path: Path,
    rates: npt.NDArray[np.float64],
    losses: npt.NDArray[np.float64],
    smoothed: npt.NDArray[np.float64],
    marks: Mapping[str, float],
) -> None:
    """The loss over the learning rate, on a logarithmic axis, with vertical lines at marked rates.

    Args:
        rates, losses, smoothed: shape (steps,).
        marks: up to three rates by name.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, losses, color="lightgrey", label="each batch")
    axes.semilogx(rates, smoothed, label="smoothed")
    for (name, rate), style in zip(marks.items(), ("--", "-", ":"), strict=False):
        axes.axvline(rate, color="black", linestyle=style, linewidth=1, label=f"{name}: {rate:.2g}")
    # A loss that explodes at the end would press the valley flat.
    axes.set_ylim(top=1.2 * float(smoothed[: len(smoothed) // 2 + 1].max()))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    save_png(path, figure)


def save_confusion(path: Path, confusion: npt.NDArray[np.int64], labels: Sequence[str], title: str) -> None:
    """The confusion matrix: counts in the cells, shades by the share of each true class."""
    side = _confusion_side(labels)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes: Axes = figure.subplots()
    cells = [[str(count) if count else "" for count in row] for row in confusion.tolist()]
    image = _confusion(axes, confusion, cells, labels)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    axes.set_title(shown(title), parse_math=False)
    save_png(path, figure)


def save_confusions(path: Path, confusion: npt.NDArray[np.int64], labels: Sequence[str], title: str) -> None:
    """The confusion matrix twice, side by side: in counts, and in percent of each true class."""
    side = _confusion_side(labels)
    figure = Figure(figsize=(2 * side + 1, side + 0.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    percent = 100 * confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    counts = [[str(count) if count else "" for count in row] for row in confusion.tolist()]
    shares = [[f"{share:.1f}" if share else "" for share in row] for row in percent.tolist()]
    _confusion(left, confusion, counts, labels)
    left.set_title("images")
    image = _confusion(right, confusion, shares, labels)
    right.set_title("percent of the true class")
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    figure.suptitle(shown(title), parse_math=False)
    save_png(path, figure)


def _confusion_side(labels: Sequence[str]) -> float:
    return min(20.0, 3.5 + 0.45 * len(labels))


def _confusion(axes: Axes, counts: npt.NDArray[np.int64], cells: list[list[str]], labels: Sequence[str]) -> Any:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    if len(labels) <= _MAX_NAMED:
        ticks: list[Any] = list(range(len(labels)))
        names = [shorten(label, 14) for label in labels]
        # parse_math: a label with dollar signs is no formula.
        axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(ticks, names, parse_math=False)
    if len(labels) <= _MAX_NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.5 else "black"
            axes.text(column, row, cells[row][column], ha="center", va="center", color=colour, fontsize=8)
    return image
