"""Confusion matrices: rows are true labels, columns predicted labels, shades the share of each true class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from runtime.files import shown

from ..evaluation.metrics import percent_of_true_class
from .figure import DARK_SHARE, SHARES, save_png, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: With more classes numbers in the cells, and then names beside them, are no longer legible.
_MAX_NUMBERED = 25
_MAX_NAMED = 60
#: Inches, of the side of a matrix.
_LARGEST_SIDE = 20.0

Counts = npt.NDArray[np.int64]


def save_confusion(path: Path, confusion: Counts, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix with counts in the cells.

    Raises:
        OSError: the file cannot be written.
    """
    side = _side(labels)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes: Axes = figure.subplots()
    image = _draw(axes, confusion, _count_cells(confusion), labels)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    axes.set_title(shown(title), parse_math=False)
    save_png(path, figure)


def save_confusions(path: Path, confusion: Counts, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix twice, side by side: in counts, and in percent of each true class.

    Raises:
        OSError: the file cannot be written.
    """
    side = _side(labels)
    figure = Figure(figsize=(2 * side + 1, side + 0.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    shares = [[f"{share:.1f}" if share else "" for share in row] for row in percent_of_true_class(confusion).tolist()]
    _draw(left, confusion, _count_cells(confusion), labels)
    left.set_title("counts")
    image = _draw(right, confusion, shares, labels)
    right.set_title("percent of the true class")
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    figure.suptitle(shown(title), parse_math=False)
    save_png(path, figure)


def _side(labels: Sequence[str]) -> float:
    return min(_LARGEST_SIDE, 3.5 + 0.45 * len(labels))


def _count_cells(confusion: Counts) -> list[list[str]]:
    return [[str(count) if count else "" for count in row] for row in confusion.tolist()]


def _draw(axes: Axes, counts: Counts, cells: list[list[str]], labels: Sequence[str]) -> Any:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1)
    axes.set_xlabel("predicted label")
    axes.set_ylabel("true label")
    if len(labels) <= _MAX_NAMED:
        ticks: list[Any] = list(range(len(labels)))
        names = [shorten(label, 14) for label in labels]
        # parse_math: a label with dollar signs is no formula.
        axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(ticks, names, parse_math=False)
    if len(labels) <= _MAX_NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > DARK_SHARE else "black"
            axes.text(column, row, cells[row][column], ha="center", va="center", color=colour, fontsize=8)
    return image
