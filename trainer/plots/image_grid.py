"""Sheets of small pictures with lines of text below them, and one picture by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from .figure import save_png, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Pictures on a sheet at most.
MAX_TILES = 60
_COLUMNS = 10
_SIDE = 112
_MARGIN = 12
_LINE = 15
_FRAME = 4
#: Above so many rows or columns the values in a picture's cells could not be read.
_MAX_NUMBERED = 20
_LONGEST_LINE = 18


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        pixels: uint8, shape (height, width, 1 or 3).
        lines: of text below it.
        colour: of its frame and text; no frame where it is "".
        dashed: whether the frame is broken: so that colour is not all that tells.
    """

    pixels: npt.NDArray[np.uint8]
    lines: tuple[str, ...]
    colour: str = ""
    dashed: bool = False


def save_tiles(path: Path, tiles: Sequence[Tile], title: str) -> None:
    """The tiles in rows, at most `MAX_TILES` of them.

    Raises:
        OSError: it cannot be written.
    """
    tiles = tiles[:MAX_TILES]
    columns = min(_COLUMNS, len(tiles))
    text = _LINE * max(len(tile.lines) for tile in tiles) + 2 * _MARGIN
    width, height = columns * (_SIDE + _MARGIN) + _MARGIN, -(-len(tiles) // columns) * (_SIDE + text) + 3 * _MARGIN
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / 110, height / 110))
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    fits = max(10, round(width / 7))
    axes.text(_MARGIN, _MARGIN, shorten(title, fits), va="center", fontsize=8, weight="bold", parse_math=False)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (_SIDE + text) + 3 * _MARGIN, column * (_SIDE + _MARGIN) + _MARGIN
        canvas[top : top + _SIDE, left : left + _SIDE] = _square(tile.pixels)
        _write(axes, tile, left, top)
    axes.imshow(canvas, interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0))
    save_png(path, figure)


def _write(axes: Axes, tile: Tile, left: int, top: int) -> None:
    text = "\n".join(shorten(line, _LONGEST_LINE) for line in tile.lines)
    axes.text(
        left,
        top + _SIDE + _MARGIN / 2,
        text,
        va="top",
        fontsize=6.5,
        linespacing=1.3,
        color=tile.colour or "black",
        parse_math=False,
    )
    if tile.colour:
        style = "--" if tile.dashed else "-"
        corner = (left - _FRAME / 2, top - _FRAME / 2)
        axes.add_patch(
            Rectangle(corner, _SIDE + _FRAME, _SIDE + _FRAME, fill=False, ec=tile.colour, lw=2.2, linestyle=style)
        )


def _square(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A picture brought to the tile's size, its shape kept, on grey."""
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    ratio = _SIDE / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    resample = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (_SIDE, _SIDE), (200, 200, 200))
    square.paste(image.resize(size, resample), ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return np.asarray(square)


def save_picture(path: Path, pixels: npt.NDArray[np.uint8], title: str) -> None:
    """One picture, enlarged; with its values in the cells where it is grey and small.

    Args:
        pixels: uint8, shape (height, width, 1 or 3).

    Raises:
        OSError: it cannot be written.
    """
    height, width, channels = pixels.shape
    figure = Figure(figsize=(7.5, min(12.0, max(3.0, 6.5 * height / width)) + 0.5), layout="constrained")
    axes = figure.subplots()
    if channels == 1:
        shown = axes.imshow(pixels[:, :, 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        figure.colorbar(shown, label="pixel value", shrink=0.8)
    else:
        axes.imshow(pixels, interpolation="nearest")
    if channels == 1 and max(height, width) <= _MAX_NUMBERED:
        for (row, column), value in np.ndenumerate(pixels[:, :, 0]):
            colour = "white" if value < 128 else "black"
            axes.text(column, row, str(value), ha="center", va="center", color=colour, fontsize=7)
    axes.set_title(shorten(title, 80), fontsize=9, parse_math=False)
    save_png(path, figure)
