"""The picture of a decision boundary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from runtime.files import shown

from .figure import save_png, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Above it a legend would hide the picture.
_MAX_NAMED = 10


def save_boundary(
    path: Path,
    scores: npt.NDArray[np.float32],
    plane: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    points: tuple[npt.NDArray[np.float64], npt.NDArray[Any]],
    texts: tuple[Sequence[str], Sequence[str], str],
) -> None:
    """Answers over the plane of two features: a colour a class, paler where less sure; boundaries, and points.

    Args:
        scores: shape (rows, columns, labels).
        plane: values of the features, of shape (columns,) and (rows,).
        points: vectors, shape (n, 2), and their classes.
        texts: names of the features, the labels, and the title.
    """
    names, labels, title = texts
    classes = len(labels)
    even = np.linspace(0, 1, classes, endpoint=False)
    colours = colormaps["tab10"](np.arange(classes)) if classes <= _MAX_NAMED else colormaps["hsv"](even)
    answers, best = scores.argmax(axis=2), scores.max(axis=2)
    shades = colours[answers].copy()
    shades[..., 3] = 0.1 + 0.4 * np.clip((best - 1 / classes) / (1 - 1 / classes), 0, 1)
    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes: Axes = figure.subplots()
    axes.pcolormesh(*plane, shades, shading="nearest", rasterized=True)
    vectors, targets = points
    for label in range(classes):
        lead = scores[..., label] - np.delete(scores, label, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            axes.contour(*plane, lead, levels=[0], colors="black", linewidths=0.8)
        members = vectors[targets == label]
        axes.plot(*members.T, ".", color=colours[label], label=shorten(labels[label]))
    axes.set_xlabel(shorten(names[0]), parse_math=False)
    axes.set_ylabel(shorten(names[1]), parse_math=False)
    axes.set_title(shown(title), parse_math=False)
    if classes <= _MAX_NAMED:
        for text in axes.legend(loc="upper right").get_texts():
            text.set_parse_math(False)
    save_png(path, figure)
