"""Sheets of small images with text below them, and drawings of a single image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from runtime import ImageInput, load_pixels

from .figure import CORRECT, DPI, WRONG, save_png, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN = 12
_LINE = 15
_FRAME = 4
#: With more rows or columns the values in an image's cells are no longer legible.
_MAX_NUMBERED = 20
#: How many scores of one sample are drawn at most, the highest.
_MAX_BARS = 20


class SheetLayout(NamedTuple):
    """How a sheet is arranged; lengths in pixels.

    Attributes:
        columns: tiles in a row.
        side: of an image.
        gap: between images.
        max_tiles: on a sheet.
        line_length: characters of a line of text.
    """

    columns: int
    side: int
    gap: int
    max_tiles: int
    line_length: int


#: Many images with a few words, and fewer images with more text, as a report has them.
SMALL_TILES = SheetLayout(columns=10, side=112, gap=12, max_tiles=60, line_length=18)
LARGE_TILES = SheetLayout(columns=6, side=128, gap=24, max_tiles=24, line_length=30)


@dataclass(frozen=True)
class Tile:
    """One image of a sheet.

    Attributes:
        pixels: uint8, shape (height, width, 1 or 3).
        lines: of text below it.
        colour: of its frame and text; "" for black text without a frame.
        dashed: whether the frame is dashed, so that colour alone does not carry the meaning.
    """

    pixels: npt.NDArray[np.uint8]
    lines: tuple[str, ...]
    colour: str = ""
    dashed: bool = False


def input_pixels(sample: Any, spec: ImageInput) -> npt.NDArray[np.uint8]:
    """The pixels that a model gets from an image, uint8 of shape (height, width, 1 or 3), red first.

    Args:
        sample: as `Source.sample` gives it.
    """
    pixels = load_pixels(sample, spec)
    return pixels[:, :, ::-1] if spec.colour == "bgr" else pixels


def prediction_tile(pixels: npt.NDArray[np.uint8], description: dict[str, Any], correct: bool) -> Tile:
    """A tile of one prediction.

    Args:
        pixels: uint8, shape (height, width, 1 or 3).
        description: from `EvaluationSet.describe`.
    """
    predicted, name = shorten(str(description["answer"]), 10), str(description["name"]).rpartition("/")[2]
    head = f"{'✓' if correct else '✗'} {predicted} {description['score']:.2f}"
    lines = (head, name) if correct else (head, f"is {description['truth']}", name)
    return Tile(pixels, lines, CORRECT if correct else WRONG, not correct)


def draw_tiles(tiles: Sequence[Tile], title: str = "", layout: SheetLayout = SMALL_TILES) -> Figure:
    """Draw the tiles in rows, at most `layout.max_tiles` of them; at least one."""
    tiles = tiles[: layout.max_tiles]
    columns, step = min(layout.columns, len(tiles)), layout.side + layout.gap
    row_height = layout.side + _LINE * max(len(tile.lines) for tile in tiles) + 2 * _MARGIN
    head = 3 * _MARGIN if title else _MARGIN
    width, height = columns * step + layout.gap, -(-len(tiles) // columns) * row_height + head
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / DPI, height / DPI))
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    fits = max(10, round(width / 7))
    axes.text(_MARGIN, _MARGIN, shorten(title, fits), va="center", fontsize=8, weight="bold", parse_math=False)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * row_height + head, column * step + layout.gap
        canvas[top : top + layout.side, left : left + layout.side] = _square(tile.pixels, layout.side)
        _write(axes, tile, (left, top), layout)
    axes.imshow(canvas, interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def save_tiles(path: Path, tiles: Sequence[Tile], title: str) -> None:
    """Draw the tiles in rows, at most `SMALL_TILES.max_tiles` of them.

    Raises:
        OSError: the file cannot be written.
    """
    save_png(path, draw_tiles(tiles, title))


def _write(axes: Axes, tile: Tile, corner: tuple[int, int], layout: SheetLayout) -> None:
    left, top = corner
    axes.text(
        left,
        top + layout.side + _MARGIN / 2,
        "\n".join(shorten(line, layout.line_length) for line in tile.lines),
        va="top",
        fontsize=6.5,
        linespacing=1.3,
        color=tile.colour or "black",
        parse_math=False,
    )
    if tile.colour:
        side, style = layout.side + _FRAME, "--" if tile.dashed else "-"
        frame = (left - _FRAME / 2, top - _FRAME / 2)
        axes.add_patch(Rectangle(frame, side, side, fill=False, ec=tile.colour, lw=2.2, linestyle=style))


def _square(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """An image resized to fit the side, its aspect ratio kept, on a grey square."""
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    ratio = side / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    resample = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (side, side), (200, 200, 200))
    square.paste(image.resize(size, resample), ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(square)


def save_image(path: Path, pixels: npt.NDArray[np.uint8], title: str) -> None:
    """Draw one image, enlarged; with its values in the cells where it is grey and small.

    Args:
        pixels: uint8, shape (height, width, 1 or 3).

    Raises:
        OSError: the file cannot be written.
    """
    height, width, channels = pixels.shape
    figure = Figure(figsize=(7.5, min(12.0, max(3.0, 6.5 * height / width)) + 0.5), layout="constrained")
    axes = figure.subplots()
    if channels == 1:
        image = axes.imshow(pixels[:, :, 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        figure.colorbar(image, label="pixel value", shrink=0.8)
    else:
        axes.imshow(pixels, interpolation="nearest")
    if channels == 1 and max(height, width) <= _MAX_NUMBERED:
        for (row, column), value in np.ndenumerate(pixels[:, :, 0]):
            colour = "white" if value < 128 else "black"
            axes.text(column, row, str(value), ha="center", va="center", color=colour, fontsize=7)
    axes.set_title(shorten(title, 80), fontsize=9, parse_math=False)
    save_png(path, figure)


def save_probabilities(
    path: Path,
    pixels: npt.NDArray[np.uint8] | None,
    scores: dict[str, float],
    true_labels: Collection[str],
    title: str,
) -> None:
    """Draw one image beside a bar for each label's score, the highest first; true labels are marked.

    Args:
        pixels: uint8, shape (height, width, 1 or 3); None for a vector of features.
        scores: by label.
        title: of one line or several.

    Raises:
        OSError: the file cannot be written.
    """
    ranked = sorted(scores.items(), key=lambda item: -item[1])[:_MAX_BARS]
    figure = Figure(figsize=(9.5, max(3.6, 1.2 + 0.3 * len(ranked))), layout="constrained")
    bars: Axes
    if pixels is None:
        bars = figure.subplots()
    else:
        left, bars = figure.subplots(1, 2, width_ratios=(1, 1.5))
        left.imshow(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), interpolation="nearest")
        left.set_axis_off()
    names = [f"{'✓ ' if label in true_labels else ''}{shorten(label)}" for label, _ in ranked]
    colours = [CORRECT if label in true_labels else "darkgrey" for label, _ in ranked]
    if ranked[0][0] not in true_labels:
        colours[0] = WRONG
    bars.barh(range(len(ranked)), [score for _, score in ranked], color=colours)
    for place, (_, score) in enumerate(ranked):
        bars.text(score + 0.01, place, f"{score:.3f}", va="center", fontsize=8)
    bars.set_yticks(range(len(ranked)), names, parse_math=False)
    bars.invert_yaxis()
    bars.set_xlim(0, 1.12)
    bars.set_xlabel("score" if len(ranked) == len(scores) else f"score, the highest {len(ranked)} of {len(scores)}")
    bars.grid(axis="x", alpha=0.3)
    lines = [shorten(line, 90) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), fontsize=10, parse_math=False)
    save_png(path, figure)
