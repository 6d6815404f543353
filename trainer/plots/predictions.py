"""What a model answered, in pictures: right and wrong ones, and the scores of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .figure import save_png, shorten
from .image_grid import Tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Told apart by the colour-blind by their lightness; a sign and a broken frame tell it without any colour.
RIGHT, WRONG = "#00734d", "#c44601"
_PLAIN = "#8c96a8"
#: Scores that are drawn for one sample at most, the highest.
_MAX_BARS = 20


def answer_tile(pixels: npt.NDArray[np.uint8], answer: dict[str, Any], right: bool) -> Tile:
    """A tile of one answer.

    Args:
        pixels: uint8, shape (height, width, 1 or 3).
        answer: from `EvaluationSet.describe`.
    """
    head = f"{'✓' if right else '✗'} {shorten(str(answer['answer']), 10)} {answer['score']:.2f}"
    truth = () if right else (f"is {answer['truth']}",)
    return Tile(pixels, (head, *truth, str(answer["name"]).rpartition("/")[2]), RIGHT if right else WRONG, not right)


def save_probabilities(
    path: Path,
    pixels: npt.NDArray[np.uint8] | None,
    scores: npt.NDArray[np.float32],
    labels: Sequence[str],
    truth: Sequence[str],
    title: str,
) -> None:
    """One picture beside a bar for each label's score, the highest first; the true ones are marked.

    Args:
        pixels: uint8, shape (height, width, 1 or 3); None of a vector of features.
        scores: float32, shape (labels,).
        truth: the true labels.

    Raises:
        OSError: it cannot be written.
    """
    order = np.argsort(-scores, kind="stable")[:_MAX_BARS]
    figure = Figure(figsize=(9.5, max(3.6, 1.2 + 0.3 * len(order))), layout="constrained")
    bars: Axes
    if pixels is None:
        bars = figure.subplots()
    else:
        left, bars = figure.subplots(1, 2, width_ratios=(1, 1.5))
        left.imshow(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), interpolation="nearest")
        left.set_axis_off()
    names = [f"{'✓ ' if labels[i] in truth else ''}{shorten(labels[i])}" for i in order]
    colours = [RIGHT if labels[i] in truth else _PLAIN for i in order]
    if labels[order[0]] not in truth:
        colours[0] = WRONG
    bars.barh(range(len(order)), scores[order], color=colours)
    for place, i in enumerate(order):
        bars.text(float(scores[i]) + 0.01, place, f"{scores[i]:.3f}", va="center", fontsize=8)
    bars.set_yticks(range(len(order)), names, parse_math=False)
    bars.invert_yaxis()
    bars.set_xlim(0, 1.12)
    bars.set_xlabel("score" if len(order) == len(labels) else f"score, the highest {len(order)} of {len(labels)}")
    bars.grid(axis="x", alpha=0.3)
    figure.suptitle(shorten(title, 90), fontsize=10, parse_math=False)
    save_png(path, figure)
