"""Pictures of decision boundaries, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from .plots import png, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Above it a legend would hide the picture.
_MAX_NAMED = 10


class Plane(NamedTuple):
    """Where two features are looked at, and what is known there.

    Attributes:
        across, up: values of the features, of shape (columns,) and (rows,).
        names: of the features.
        labels: of the classes.
        vectors, targets: the test split, of shape (n, 2) and (n,).
    """

    across: npt.NDArray[np.float64]
    up: npt.NDArray[np.float64]
    names: Sequence[str]
    labels: Sequence[str]
    vectors: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]


def boundaries(found: Mapping[str, npt.NDArray[np.float32]], plane: Plane) -> bytes:
    """Answers over the plane, a panel a model: a colour a class, paler where less sure; boundaries and test vectors.

    Args:
        found: scores of shape (rows, columns, labels) by the model's name; the first is what others are compared with.
    """
    figure = Figure(figsize=(4.6 * len(found), 4.8), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False, sharex=True, sharey=True)[0]
    (reference, first), *_ = found.items()
    for axes, (name, scores) in zip(panels, found.items(), strict=True):
        _draw(axes, plane, scores)
        same = float((scores.argmax(axis=2) == first.argmax(axis=2)).mean())
        axes.set_title(name if name == reference else f"{name}: {100 * same:.2f} % as {reference}")
    panels[0].set_ylabel(shorten(plane.names[1]), parse_math=False)
    if len(plane.labels) <= _MAX_NAMED:
        legend = panels[-1].legend(loc="upper right", fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return png(figure)


def _draw(axes: Axes, plane: Plane, scores: npt.NDArray[np.float32]) -> None:
    classes = len(plane.labels)
    colours = (
        colormaps["tab10"](np.arange(classes))
        if classes <= _MAX_NAMED
        else colormaps["hsv"](np.linspace(0, 1, classes, endpoint=False))
    )
    answers, best = scores.argmax(axis=2), scores.max(axis=2)
    shades = colours[answers].copy()
    shades[..., 3] = 0.1 + 0.4 * np.clip((best - 1 / classes) / (1 - 1 / classes), 0, 1)
    axes.pcolormesh(plane.across, plane.up, shades, shading="nearest", rasterized=True)
    for label in range(classes):
        lead = scores[..., label] - np.delete(scores, label, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            axes.contour(plane.across, plane.up, lead, levels=[0], colors="black", linewidths=0.8)
        members = plane.vectors[plane.targets == label]
        axes.plot(*members.T, ".", color=colours[label], markersize=4, label=shorten(plane.labels[label]))
    axes.set_xlabel(shorten(plane.names[0]), parse_math=False)
