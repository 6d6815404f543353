"""Which parts of a picture an answer comes from: parts are hidden one after the other, and the score is read again.

What is explained is the model file itself, as the interpreter of this machine runs it; no gradient and no other copy of
the network is needed.

Source: M. D. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014, arXiv:1311.2901.
They hide with one grey square. Here squares of three sizes are used, since evidence can be small or large, and what
they hide is blurred, as R. Fong and A. Vedaldi do in Interpretable explanations of black boxes by meaningful
perturbation, ICCV 2017, arXiv:1704.03296. A fixed colour can be evidence itself: a white square is a thick stroke of a
digit on black. So can the median of the surroundings, which continues strokes. A blur that is as wide as the square
leaves the colours of the place and takes its shapes. An even picture stays as it is, and its map is exactly 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from .contract import DEFAULT_DECISION
from .errors import InputError
from .images import Pixels, load_pixels
from .postprocessing import choose_labels, rank
from .thread_map import ordered_map

if TYPE_CHECKING:
    from .classifier import Classifier
    from .images import ImageSource

#: The map has so many rows and columns at most. A square has 2, 4 or 6 of 16 cells, and the next one begins half of its
#: side further on.
_MAX_CELLS = 16
_SQUARES = (2, 4, 6)
#: A part matters if the score falls by more than this without it; for scores that are no probabilities, the share of
#: the distance between the highest and the lowest score.
LEAST_DROP = 0.01
#: The shares of the largest drop that the cells of the region reach: the first that gives a region of moderate size.
_PEAK_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)


class Box(NamedTuple):
    """A part of a picture, in pixels or cells; `right` and `bottom` are the first that do not belong to it."""

    left: int
    top: int
    right: int
    bottom: int


class MainRegion(NamedTuple):
    """The part of a picture that matters most.

    Attributes:
        box: where it is, in pixels of the picture as the network takes it.
        score_without: the score of the label where this part is hidden.
        share: the share of the score that is lost without it, at most 1; None where the score is no probability.
    """

    box: Box
    score_without: float
    share: float | None


class Explanation(NamedTuple):
    """Where the score of one label comes from.

    Attributes:
        label, index: the label, and its place among the model's outputs.
        score: its calibrated score for the whole picture.
        is_unknown: whether a device answers "unknown" instead of the label with the highest score; False for a label
            that was chosen.
        pixels: the picture as the network takes it, uint8 (height, width, 1 or 3), red first.
        drops: how far the score falls where a cell is hidden, the mean over the squares that cover it: float64 of shape
            (rows, columns), at most 16 each. Negative where it rises, as the cell speaks against the label.
        full_colour: the change that a drawing shows in full colour: the largest one of `drops`, but at least
            `LEAST_DROP`, so that what does not matter stays pale.
        largest_drop, largest_rise: what a single square changes at most, downwards and upwards; at least 0.
        region: the part that matters most; None where no square lowers the score by more than `LEAST_DROP`.
        calls: how often the model was run.

    Example:
        >>> from runtime import Classifier
        >>> found = explain(Classifier("int8.tflite"), "seven.png")
        >>> found.label, found.drops.shape
        ('7', (8, 8))
    """

    label: str
    index: int  # type: ignore[assignment]  # not tuple.index
    score: float
    is_unknown: bool
    pixels: Pixels
    drops: npt.NDArray[np.float64]
    full_colour: float
    largest_drop: float
    largest_rise: float
    region: MainRegion | None
    calls: int

    def as_dict(self) -> dict[str, Any]:
        """All but the pixels, for JSON; numbers are rounded to six decimals."""
        region = self.region
        return {
            "label": self.label,
            "index": self.index,
            "score": _rounded(self.score),
            "unknown": self.is_unknown,
            "height": self.pixels.shape[0],
            "width": self.pixels.shape[1],
            "drops": [[_rounded(drop) for drop in row] for row in self.drops.tolist()],
            "full_colour": _rounded(self.full_colour),
            "largest_drop": _rounded(self.largest_drop),
            "largest_rise": _rounded(self.largest_rise),
            "region": None
            if region is None
            else {
                **region.box._asdict(),
                "score_without": _rounded(region.score_without),
                "share": None if region.share is None else _rounded(region.share),
            },
            "calls": self.calls,
        }


def _rounded(value: float) -> float:
    return round(value, 6) + 0.0  # no negative zero


def explain(
    classifier: Classifier,
    image: ImageSource,
    label: str | None = None,
    *,
    layout: str | None = None,
    advance: Callable[[int], object] | None = None,
) -> Explanation:
    """Find the parts of a picture that the score of a label comes from.

    The model runs some 300 times, in a thread for each processor; `count_calls` says how often exactly.

    Args:
        classifier: the model.
        image: as for `Classifier.scores`.
        label: the label whose score is explained; by default the one with the highest score.
        layout: as for `Classifier.scores`.
        advance: called in this thread with 1 after each run of the model.

    Raises:
        InputError: the model takes features, which have no parts to hide; or the image cannot be read.
        ValueError: `label` is no label of the model.
        InterpreterError: as for `Classifier.scores`.

    Example:
        >>> from runtime import Classifier
        >>> explain(Classifier("int8.tflite"), "seven.png", label="1").label
        '1'
    """
    contract = classifier.contract
    if contract.input.kind == "features":
        raise InputError(f"the model takes {contract.input.describe()}; only pictures have parts that can be hidden")
    chosen = None if label is None else choose_labels(contract.labels, (label,), ())
    pixels = load_pixels(image, contract.input, layout or classifier.layout)

    def scores_of(changed: Pixels) -> npt.NDArray[np.float32]:
        return classifier.interpret(classifier.run_tensor(classifier.preprocessor.scale(changed[np.newaxis])))

    advance = advance or (lambda _runs: None)
    whole = scores_of(pixels)
    advance(1)
    decision = contract.confidence.decision if contract.task == "binary" else DEFAULT_DECISION
    best = rank(whole, contract.labels, 1, chosen=chosen, decision=decision)[0]
    score = float(whole[best.index])
    grid = _Grid(pixels)

    def drop_without(cells: Box) -> float:
        return score - float(scores_of(grid.hide(cells))[best.index])

    drops, largest, least = _measure(grid, drop_without, advance)
    is_probability = contract.gives_probabilities
    limit = LEAST_DROP if is_probability else LEAST_DROP * float(np.ptp(whole))
    region, calls = None, 1 + grid.squares
    if largest > limit and drops.max() > 0:
        cells = _around_the_peak(drops)
        lost = drop_without(cells)
        region = MainRegion(grid.in_pixels(cells), score - lost, lost / score if is_probability and score else None)
        calls += 1
    advance(1)  # also where this call was not needed
    shown = pixels[:, :, ::-1] if contract.input.colour == "bgr" else pixels
    is_unknown = label is None and is_probability and score < contract.confidence.threshold
    return Explanation(
        label=best.label,
        index=best.index,
        score=score,
        is_unknown=is_unknown,
        pixels=shown,
        drops=drops,
        full_colour=max(float(np.abs(drops).max()), limit) or LEAST_DROP,
        largest_drop=largest,
        largest_rise=abs(least),
        region=region,
        calls=calls,
    )


def count_calls(shape: tuple[int, ...]) -> int:
    """How often `explain` runs a model whose input has this shape (height, width, channels), at most."""
    return _Grid(np.empty((*shape[:2], 0), np.uint8)).squares + 2


class _Grid:
    """The cells of a picture, and the squares that hide some of them.

    Args:
        pixels: uint8 (height, width, 1 or 3).
    """

    def __init__(self, pixels: Pixels) -> None:
        sides = pixels.shape[:2]
        self.cells = (min(sides[0], _MAX_CELLS), min(sides[1], _MAX_CELLS))
        self._pixels = pixels
        self._edges = [np.rint(np.linspace(0, s, n + 1)).astype(int) for s, n in zip(sides, self.cells, strict=True)]
        self._blurred: dict[float, Pixels] = {}

    def in_pixels(self, cells: Box) -> Box:
        """Where cells lie in the picture."""
        rows, columns = self._edges
        left, right = columns[[cells.left, cells.right]].tolist()
        top, bottom = rows[[cells.top, cells.bottom]].tolist()
        return Box(left, top, right, bottom)

    def hide(self, cells: Box) -> Pixels:
        """A copy of the picture, blurred in some cells, as widely as their longer side."""
        (height, width), (rows, columns) = self._pixels.shape[:2], self.cells
        radius = max((cells.bottom - cells.top) * height / rows, (cells.right - cells.left) * width / columns)
        if radius not in self._blurred:
            self._blurred[radius] = _blur(self._pixels, radius)
        box, changed = self.in_pixels(cells), self._pixels.copy()
        place = np.s_[box.top : box.bottom, box.left : box.right]
        changed[place] = self._blurred[radius][place]
        return changed

    def scales(self) -> Iterator[list[Box]]:
        """The squares of each size, in cells; together those of a size cover the picture."""
        rows, columns = self.cells
        for height, width in dict.fromkeys(tuple(_side(square, n) for n in self.cells) for square in _SQUARES):
            yield [
                Box(left, top, left + width, top + height)
                for top in _starts(height, rows)
                for left in _starts(width, columns)
            ]

    @property
    def squares(self) -> int:
        """The number of squares of all sizes."""
        return sum(map(len, self.scales()))


def _blur(pixels: Pixels, radius: float) -> Pixels:
    single = pixels.shape[2] == 1
    image = Image.fromarray(pixels[:, :, 0] if single else np.ascontiguousarray(pixels))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius))).reshape(pixels.shape)


def _side(square: int, cells: int) -> int:
    return max(1, square * cells // _MAX_CELLS)


def _starts(side: int, cells: int) -> list[int]:
    return sorted({*range(0, cells - side, max(1, side // 2)), cells - side})


def _measure(
    grid: _Grid, drop_without: Callable[[Box], float], advance: Callable[[int], object]
) -> tuple[npt.NDArray[np.float64], float, float]:
    """The mean drop of each cell over all sizes, and the largest and the least drop of a single square."""
    scales = list(grid.scales())
    found = ordered_map(drop_without, (square for scale in scales for square in scale), os.cpu_count() or 1)
    drops, extremes = np.zeros(grid.cells), [0.0]
    for scale in scales:
        total, count = np.zeros(grid.cells), np.zeros(grid.cells)
        for square in scale:
            place = np.s_[square.top : square.bottom, square.left : square.right]
            drop = next(found)
            advance(1)
            total[place] += drop
            count[place] += 1
            extremes.append(drop)
        drops += total / count / len(scales)
    return drops, max(extremes), min(extremes)


def _around_the_peak(drops: npt.NDArray[np.float64]) -> Box:
    """A box around the largest drop and the cells beside it that reach half of it.

    Where that is more than a quarter of the picture, they must reach more than half.
    """
    found = Box(0, 0, 0, 0)
    for share in _PEAK_SHARES:
        found = _box_of_peak(drops, share)
        if (found.right - found.left) * (found.bottom - found.top) <= drops.size / 4:
            break
    return found


def _box_of_peak(drops: npt.NDArray[np.float64], share: float) -> Box:
    """The box around the cells that hang together with the first largest drop and reach a share of it."""
    high = drops >= share * drops.max()
    part = np.zeros(drops.shape, bool)
    part.flat[drops.argmax()] = True
    while True:
        grown = part.copy()
        grown[1:] |= part[:-1]
        grown[:-1] |= part[1:]
        grown[:, 1:] |= part[:, :-1]
        grown[:, :-1] |= part[:, 1:]
        grown &= high
        if (grown == part).all():
            break
        part = grown
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
