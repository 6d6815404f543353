"""The weights of a layer: their distribution, and the range of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from .figure import save_png, series_style, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..keras_inspection.weights import WeightFigures

_BINS = 60
_COLOUR, _ = series_style(0)


def save_weights(path: Path, weights: Sequence[WeightFigures], title: str) -> None:
    """Draw a row for each tensor: the histogram of its values, and the range of each output channel.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(11, 0.6 + 2.6 * len(weights)), layout="constrained")
    rows = figure.subplots(len(weights), 2, squeeze=False)
    for (left, right), figures in zip(rows, weights, strict=True):
        _histogram(left, figures)
        _channels(right, figures)
    figure.suptitle(shorten(title, 90), fontsize=10, parse_math=False)
    save_png(path, figure)


def _histogram(axes: Axes, figures: WeightFigures) -> None:
    values = figures.values[np.isfinite(figures.values)]
    axes.hist(values.ravel(), bins=_BINS, color=_COLOUR)
    axes.axvline(0, color="black", linewidth=0.8)
    shape = "x".join(map(str, figures.values.shape))
    axes.set_title(
        f"{figures.name} {shape}: mean {figures.mean:.3g}, std {figures.std:.3g}", fontsize=9, parse_math=False
    )
    axes.set_xlabel("value")
    axes.set_ylabel("weights")


def _channels(axes: Axes, figures: WeightFigures) -> None:
    if figures.channels is None:
        values = figures.values.reshape(-1)
        axes.bar(np.arange(len(values)), values, width=1.0, color=_COLOUR)
        axes.set_title("value of each channel", fontsize=9)
    else:
        least, greatest = figures.channels.T
        axes.bar(np.arange(len(least)), greatest - least, bottom=least, width=0.8, color=_COLOUR)
        spread = "" if figures.spread is None else f": the widest {figures.spread:.1f} times the narrowest"
        axes.set_title(f"range of each output channel{spread}", fontsize=9)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("channel")
