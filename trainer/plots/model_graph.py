"""A network as boxes and arrows, drawn with matplotlib alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from .figure import pale, save_png, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..keras_inspection.layers import Layer

#: Drawn inside the box of the layer before them, unless another layer takes that layer's output too.
_JOINED = ("BatchNormalization", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Dropout")
_SHORT = {"BatchNormalization": "BatchNorm", "GlobalAveragePooling2D": "GlobalAveragePooling"}
#: Boxes in a column before the next column begins, and columns at most.
_ROWS = 14
_MOST_COLUMNS = 10
#: Inches.
_BOX = (2.3, 0.76)
_GAP = (0.75, 0.34)
#: Places in the palette by the beginning of a layer's kind; the others are white.
_COLOURS = {"Conv": 0, "Depth": 0, "Dense": 4, "Input": 6, "Add": 3}


@dataclass
class _Box:
    """One layer, and the layers that are drawn inside its box."""

    layers: list[Layer]
    sources: list[str] = field(default_factory=list)
    depth: int = 0
    place: int = 0

    @property
    def lines(self) -> tuple[str, ...]:
        first, last = self.layers[0], self.layers[-1]
        head = f"{_SHORT.get(first.kind, first.kind)} {first.detail}".strip()
        joined = ", ".join(layer.detail or _SHORT.get(layer.kind, layer.kind) for layer in self.layers[1:])
        size = " x ".join("?" if side is None else str(side) for side in last.shape)
        parameters = sum(layer.parameters for layer in self.layers)
        output = f"{size}   {parameters:,} parameters" if parameters else size
        names = ", ".join(layer.name for layer in self.layers)
        return tuple(shorten(line, 38) for line in (names, head, f"+ {joined}" if joined else "", output) if line)


def save_network(path: Path, layers: Sequence[Layer], title: str) -> None:
    """Draw a network: a named box for each layer, arrows to the layers that take its output, branches side by side.

    Args:
        layers: from `layers_of`.

    Raises:
        OSError: the file cannot be written.
    """
    boxes = _boxes(layers)
    _place(boxes)
    depths = 1 + max(box.depth for box in boxes.values())
    rows = max(_ROWS, math.ceil(depths / _MOST_COLUMNS))
    widths = _column_widths(boxes, rows)
    step = (_BOX[0] + _GAP[0], _BOX[1] + _GAP[1])
    size = (sum(widths) * step[0] + _GAP[0], min(depths, rows) * step[1] + 0.8)
    figure = Figure(figsize=size)
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.set_axis_off()
    axes.text(_GAP[0] / 2, 0.25, shorten(title, round(size[0] * 11)), fontsize=9, weight="bold", parse_math=False)
    centres = {}
    for name, box in boxes.items():
        column, row = divmod(box.depth, rows)
        beside = sum(other.depth == box.depth for other in boxes.values())
        left = (sum(widths[:column]) + (widths[column] - beside) / 2 + box.place) * step[0]
        centres[name] = (left + _GAP[0] / 2 + _BOX[0] / 2, row * step[1] + 0.5 + step[1] / 2)
        _draw(axes, box, centres[name])
    for name, box in boxes.items():
        for source in box.sources:
            _connect(axes, centres[source], centres[name], boxes[source].depth, box.depth, rows)
    save_png(path, figure)


def _boxes(layers: Sequence[Layer]) -> dict[str, _Box]:
    """Boxes by the name of their last layer, whose output other layers take."""
    # The input of a nested model has no box: it stands for the layer that feeds it.
    stands_for = {layer.name: layer.inputs[0] for layer in layers if layer.kind == "InputLayer" and layer.inputs}
    takers: dict[str, int] = defaultdict(int)
    for layer in layers:
        for source in layer.inputs:
            takers[source] += 1
    boxes: dict[str, _Box] = {}
    for layer in layers:
        if layer.name in stands_for:
            continue
        sources = [_end(source, stands_for) for source in layer.inputs]
        before = sources[0] if len(sources) == 1 and takers[layer.inputs[0]] == 1 else ""
        if layer.kind in _JOINED and before in boxes and boxes[before].layers[0].kind != "InputLayer":
            box = boxes.pop(before)
            box.layers.append(layer)
            boxes[layer.name] = box
        else:
            boxes[layer.name] = _Box([layer], sources)
    return boxes


def _end(source: str, stands_for: dict[str, str]) -> str:
    while source in stands_for:
        source = stands_for[source]
    return source


def _place(boxes: dict[str, _Box]) -> None:
    """Set each box's depth, the longest path from the input, and its place among the boxes of that depth."""
    beside: dict[int, int] = defaultdict(int)
    for box in boxes.values():
        box.depth = 1 + max((boxes[source].depth for source in box.sources), default=-1)
        box.place = beside[box.depth]
        beside[box.depth] += 1


def _column_widths(boxes: dict[str, _Box], rows: int) -> list[int]:
    beside: dict[int, int] = defaultdict(int)
    for box in boxes.values():
        beside[box.depth] += 1
    columns = 1 + max(beside) // rows
    return [max(count for depth, count in beside.items() if depth // rows == column) for column in range(columns)]


def _draw(axes: Axes, box: _Box, centre: tuple[float, float]) -> None:
    kind = box.layers[0].kind
    colour = next((pale(place) for start, place in _COLOURS.items() if kind.startswith(start)), "white")
    corner = (centre[0] - _BOX[0] / 2, centre[1] - _BOX[1] / 2)
    axes.add_patch(FancyBboxPatch(corner, *_BOX, boxstyle="round,pad=0,rounding_size=0.06", fc=colour, ec="dimgrey"))
    axes.text(*centre, "\n".join(box.lines), ha="center", va="center", fontsize=6.8, linespacing=1.3, parse_math=False)


def _connect(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], above: int, below: int, rows: int
) -> None:
    same_column = above // rows == below // rows
    (x0, y0), (x1, y1) = start, end
    half_width, half_height = _BOX[0] / 2, _BOX[1] / 2
    style = "arc3,rad=0"
    if same_column and below == above + 1:
        ends = (x0, y0 + half_height), (x1, y1 - half_height)
    elif same_column:
        # Around the boxes between them, on the right.
        ends = (max(x0, x1) + half_width, y0), (x1 + half_width, y1)
        style = f"arc3,rad={-min(0.45, 0.75 / max(0.1, y1 - y0)):.3f}"
    else:
        ends = (x0 + half_width, y0), (x1 - half_width, y1)
    axes.add_patch(
        FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=9, connectionstyle=style, color="dimgrey", lw=1)
    )
