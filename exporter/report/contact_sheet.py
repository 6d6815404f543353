"""Contact sheets: test images with the truth and the answers below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from runtime import load_pixels
from trainer.data.run_folder import RunFolder
from trainer.data.sources import FileSource
from trainer.evaluation.predictions import Predictions, label_text

from .plots import png, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Images on one sheet at most.
MAX_TILES = 24
_COLUMNS = 6
_SIDE = 128
_GAP = 70


@dataclass(frozen=True)
class Tile:
    """One image of a sheet: pixels uint8 of shape (height, width, 3), and lines of text."""

    pixels: npt.NDArray[np.uint8]
    lines: tuple[str, ...]


def make_tiles(run: RunFolder, places: npt.NDArray[np.int64], models: Mapping[str, Predictions]) -> list[Tile]:
    """The first `MAX_TILES` places of the test split, with the truth and each model's answer and score."""
    labels, tiles = run.contract.labels, []
    for place in places[:MAX_TILES].tolist():
        index = int(run.splits["test"][place])
        lines = [_name(run, index), f"truth: {_label(run.targets[index], labels, 16)}"]
        for name, scored in models.items():
            predicted = scored.predicted[place]
            score = "" if scored.task == "multilabel" else f" {scored.prediction_scores[place]:.2f}"
            lines.append(f"{name}: {_label(predicted, labels, 12)}{score}")
        tiles.append(Tile(_thumbnail(run, index), tuple(lines)))
    return tiles


def _label(target: npt.NDArray[np.int64], labels: Sequence[str], length: int) -> str:
    """A class, or the labels that are there, as they fit below a picture."""
    return shorten(label_text(target, labels, "none"), length + 6 if np.ndim(target) else length)


def contact_sheet(tiles: Sequence[Tile]) -> bytes:
    """The tiles in rows, as a PNG."""
    rows = -(-len(tiles) // _COLUMNS)
    width, height = _COLUMNS * (_SIDE + 24), rows * (_SIDE + _GAP)
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / 100, height / 100))
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for number, tile in enumerate(tiles):
        row, column = divmod(number, _COLUMNS)
        top, left = row * (_SIDE + _GAP) + 4, column * (_SIDE + 24) + 12
        canvas[top : top + _SIDE, left : left + _SIDE] = tile.pixels
        text = "\n".join(tile.lines)
        axes.text(left, top + _SIDE + 3, text, va="top", fontsize=6.5, linespacing=1.3, parse_math=False)
    axes.imshow(canvas, interpolation="nearest")
    return png(figure)


def _name(run: RunFolder, index: int) -> str:
    if isinstance(run.source, FileSource):
        return shorten(run.source.paths[index].rpartition("/")[2], 22)
    return f"image {index}"


def _thumbnail(run: RunFolder, index: int) -> npt.NDArray[np.uint8]:
    """What the model sees, on a grey square."""
    spec = run.contract.image_input
    pixels = load_pixels(run.source.sample(index), spec)
    if spec.colour == "bgr":
        pixels = pixels[:, :, ::-1]
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    ratio = _SIDE / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    enlarge = Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (_SIDE, _SIDE), (200, 200, 200))
    square.paste(image.resize(size, enlarge), ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return np.asarray(square)
