"""The weights of a layer: their distribution, and the range of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .figure import AROUND_ZERO, save_png, series_style, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..keras_inspection.weights import WeightFigures

_BINS = 60
_COLOUR, _ = series_style(0)
#: Kernels that are drawn at most, the first.
_MAX_KERNELS = 64


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
        _strip(axes, figures.values)
        axes.set_title(f"{figures.name}: value of each channel", fontsize=9, parse_math=False)
    else:
        least, greatest = figures.channels.T
        axes.bar(np.arange(len(least)), greatest - least, bottom=least, width=0.8, color=_COLOUR)
        spread = "" if figures.spread is None else f": the widest {figures.spread:.1f} times the narrowest"
        axes.set_title(f"range of each output channel{spread}", fontsize=9)
        axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("channel")


def _strip(axes: Any, values: npt.NDArray[np.float32]) -> None:
    """Values in a row as colours: vermilion below 0, white at 0, blue above."""
    row = np.nan_to_num(values.reshape(1, -1))
    reach = float(np.abs(row).max()) or 1.0
    image = axes.imshow(row, cmap=AROUND_ZERO, vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    axes.set_yticks([])
    axes.figure.colorbar(image, ax=axes, location="bottom", shrink=0.8)


def save_kernels(
    path: Path, kernels: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None, title: str
) -> None:
    """Draw the kernels of a first layer as images, with the bias as a strip below.

    One input channel is drawn from vermilion (negative) over white (0) to blue; three are colours, where grey is 0.

    Args:
        kernels: shape (height, width, 1 or 3, outputs), from `first_layer_kernels`.
        bias: shape (outputs,).

    Raises:
        OSError: the file cannot be written.
    """
    count = min(kernels.shape[3], _MAX_KERNELS)
    columns = min(count, 8)
    rows = -(-count // columns)
    strips = int(bias is not None)
    figure = Figure(figsize=(1.2 * max(columns, 4), 0.8 + 1.35 * rows + 1.3 * strips), layout="constrained")
    grid = figure.add_gridspec(rows + strips, columns)
    reach = float(np.abs(np.nan_to_num(kernels)).max()) or 1.0
    for place in range(count):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        kernel = np.nan_to_num(kernels[..., place])
        if kernel.shape[2] == 1:
            axes.imshow(kernel[..., 0], cmap=AROUND_ZERO, vmin=-reach, vmax=reach, interpolation="nearest")
        else:
            axes.imshow(0.5 + kernel / (2 * reach), interpolation="nearest")
        axes.set_title(str(place), fontsize=8)
        axes.set_axis_off()
    if bias is not None:
        axes = figure.add_subplot(grid[rows, :])
        _strip(axes, bias)
        axes.set_title("bias of each channel", fontsize=8)
    more = "" if count == kernels.shape[3] else f", the first {count} of {kernels.shape[3]:,}"
    figure.suptitle(shorten(f"{title}{more}", 12 * columns + 30), fontsize=9, parse_math=False)
    save_png(path, figure)
