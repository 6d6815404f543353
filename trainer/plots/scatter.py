"""Vectors of features as points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure

from .figure import MAX_STYLES, save_png, series_style, shorten, show_as_text

_LEGEND_COLUMNS = 3


def save_scatter(
    path: Path, vectors: npt.NDArray[Any], targets: npt.NDArray[Any], labels: Sequence[str], names: Sequence[str]
) -> None:
    """Draw the first two features of every vector, or a single one by number; classes differ by colour and marker.

    Args:
        vectors: shape (n, features).
        targets: int, shape (n,).
        names: of the features.

    Raises:
        OSError: the file cannot be written.
    """
    save_png(path, draw_scatter(vectors, targets, labels, names))


def draw_scatter(
    vectors: npt.NDArray[Any], targets: npt.NDArray[Any], labels: Sequence[str], names: Sequence[str]
) -> Figure:
    """The drawing of `save_scatter`, which explains the arguments."""
    shown = min(len(labels), MAX_STYLES)
    figure = Figure(figsize=(5.2, 4.6 + 0.2 * -(-shown // _LEGEND_COLUMNS)), layout="constrained")
    axes = figure.subplots()
    for target, label in enumerate(labels[:MAX_STYLES]):
        chosen = (targets == target).nonzero()[0]
        across, up = (vectors[chosen, 0], vectors[chosen, 1]) if vectors.shape[1] > 1 else (chosen, vectors[chosen, 0])
        colour, marker = series_style(target)
        axes.scatter(across, up, s=16, color=colour, marker=marker, alpha=0.7, label=shorten(label))
    across_name, up_name = (names[0], names[1]) if len(names) > 1 else ("number", names[0])
    axes.set_xlabel(shorten(across_name), parse_math=False)
    axes.set_ylabel(shorten(up_name), parse_math=False)
    axes.grid(alpha=0.3)
    show_as_text(figure.legend(loc="outside lower center", ncols=min(shown, _LEGEND_COLUMNS), fontsize=9))
    return figure
