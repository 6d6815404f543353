"""The decision boundary of models on two features: predictions over the plane of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgba_array
from matplotlib.figure import Figure

from runtime import Contract, make_preprocessor
from runtime.files import shown
from runtime.heat_map import PALETTE

from ..evaluation.predictions import Scores, scores_of_both
from .figure import series_style, shorten, show_as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: How far the plane reaches beyond the data, as a share of their range.
_MARGIN = 0.1
#: With more classes a legend would hide the drawing.
_MAX_NAMED = 20
#: How opaque the plane is at the lowest and at the highest score.
_PALEST, _DEEPEST = 0.1, 0.5
_BATCH = 4096


@dataclass(frozen=True)
class Plane:
    """The plane of two features, and the samples in it.

    Attributes:
        contract: of the models that are drawn.
        across, up: values of the two features, shape (side,) each.
        vectors, targets: of the test split, shape (n, 2) and (n,).
    """

    contract: Contract
    across: npt.NDArray[np.float64]
    up: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float64]
    targets: npt.NDArray[Any]

    @property
    def grid(self) -> npt.NDArray[np.float64]:
        """All points of the plane as vectors, shape (side * side, 2)."""
        points: npt.NDArray[np.float64] = np.stack(np.meshgrid(self.across, self.up), axis=-1).reshape(-1, 2)
        return points

    def keras_scores(self, model: Any) -> Scores:
        """The scores of a Keras model for all points, shape (side * side, labels)."""
        from ..keras_inspection.outputs import predict_array  # brings Keras

        inputs = make_preprocessor(self.contract.input).scale(self.grid)
        scores = np.asarray(predict_array(model, inputs, _BATCH))
        return scores_of_both(scores) if self.contract.task == "binary" else scores


def takes_two_features(contract: Contract) -> bool:
    """Whether a model has a plane to draw."""
    return contract.input.kind == "features" and len(contract.input.names) == 2


def make_plane(
    contract: Contract, vectors: npt.NDArray[np.float64], targets: npt.NDArray[Any], test: Any, side: int
) -> Plane:
    """The plane that all vectors of a data set span, and a little more.

    Args:
        vectors, targets: of all samples, shape (n, 2) and (n,).
        test: indices of the test split.
        side: points of each feature.
    """
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    across, up = np.linspace(low - margin, high + margin, side).T
    return Plane(contract, across, up, vectors[test], targets[test])


def draw_boundaries(
    panels: Mapping[str, Scores],
    plane: Plane,
    samples: Mapping[str, tuple[npt.NDArray[np.float64], npt.NDArray[Any]]] | None = None,
) -> Figure:
    """Draw each model's predictions over the plane, with the boundaries between classes and the vectors.

    Each class has a colour, which is paler where the highest score is lower; a scale beside the panels shows how much.

    Args:
        panels: scores for all points by the title of the panel, shape (side * side, labels).
        samples: vectors and targets by the title of the panel; those of the test split where there are none.
    """
    # A single panel is smaller, so that its text can be read on a phone.
    figure = Figure(figsize=(4.6 * len(panels) + 1.6, 5.4) if len(panels) > 1 else (5.2, 4.8), layout="constrained")
    axes_of_panels = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (title, scores) in zip(axes_of_panels, panels.items(), strict=True):
        members = (samples or {}).get(title, (plane.vectors, plane.targets))
        _draw(axes, plane, scores.reshape(len(plane.up), len(plane.across), -1), *members)
        axes.set_title(shown(title), parse_math=False, fontsize=10)
    _, vertical = _names(plane)
    axes_of_panels[0].set_ylabel(shorten(vertical), parse_math=False)
    classes = len(plane.contract.labels)
    shades = LinearSegmentedColormap.from_list("scores", [(0, 0, 0, _PALEST), (0, 0, 0, _DEEPEST)])
    scale = ScalarMappable(Normalize(1 / classes, 1), shades)
    figure.colorbar(scale, ax=list(axes_of_panels), label="highest score", shrink=0.7)
    if classes <= _MAX_NAMED:
        handles, labels = axes_of_panels[0].get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=min(classes, 5), fontsize=9)
        show_as_text(legend)
    return figure


def _class_colours(classes: int) -> list[Any]:
    """Colours that colour-blind people can tell apart: Okabe and Ito's, or an ordered map where they do not suffice."""
    if classes <= len(PALETTE):
        return [*PALETTE[:classes]]
    return [*colormaps["viridis"](np.linspace(0, 1, classes))]


def _names(plane: Plane) -> Sequence[str]:
    spec = plane.contract.input
    assert spec.kind == "features"  # a plane has no other
    return spec.names


def _draw(
    axes: Axes, plane: Plane, scores: Scores, vectors: npt.NDArray[np.float64], targets: npt.NDArray[Any]
) -> None:
    labels = plane.contract.labels
    classes = len(labels)
    colours = _class_colours(classes)
    predicted, highest = scores.argmax(axis=2), scores.max(axis=2)
    shades = to_rgba_array(colours)[predicted]
    shades[..., 3] = _PALEST + (_DEEPEST - _PALEST) * np.clip((highest - 1 / classes) / (1 - 1 / classes), 0, 1)
    axes.pcolormesh(plane.across, plane.up, shades, shading="nearest", rasterized=True)
    for place, label in enumerate(labels):
        lead = scores[..., place] - np.delete(scores, place, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            axes.contour(plane.across, plane.up, lead, levels=[0], colors="black", linewidths=0.8)
        members = vectors[targets == place]
        _, marker = series_style(place)
        axes.plot(*members.T, marker, color=colours[place], markersize=4, label=shorten(label), mec="white", mew=0.3)
    axes.set_xlabel(shorten(_names(plane)[0]), parse_math=False)
