"""Draws the decision boundary of a run on two features, for the Keras model and for each model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .scoring import SplitScorer

if TYPE_CHECKING:
    from trainer.data.run_folder import RunFolder

#: Points of each feature.
_SIDE = 100
_KERAS = "Keras"


class BoundaryPictures(NamedTuple):
    """The decision boundaries as PNG: all side by side, and a picture each by its title, which fits a phone."""

    together: bytes
    single: Mapping[str, bytes]


def draw_boundary(run: RunFolder, files: Sequence[Path], scorer: SplitScorer) -> BoundaryPictures | None:
    """Draw the predictions of Keras and of each file over the plane, side by side, with the test vectors.

    Args:
        files: model files.
        scorer: runs them.

    Returns:
        The drawings; None if the model does not take two features.

    Raises:
        ExportError: a file cannot be scored, or the Keras model cannot be loaded.
    """
    from trainer.plots.decision_boundary import draw_boundaries, make_plane, takes_two_features
    from trainer.plots.figure import png_bytes

    from .keras_loading import load_classifier

    if not takes_two_features(run.contract):
        return None
    vectors = np.stack([*map(run.source.sample, range(len(run.source)))])
    plane = make_plane(run.contract, vectors, run.targets, run.splits["test"], _SIDE)
    reference = plane.keras_scores(load_classifier(run.model_path, "features"))
    panels = {_KERAS: reference}
    for path in files:
        scores = scorer.score_vectors(path, plane.grid)
        same = float((scores.argmax(axis=1) == reference.argmax(axis=1)).mean())
        panels[f"{path.name}: {100 * same:.2f} % as {_KERAS}"] = scores
    single = {title: png_bytes(draw_boundaries({title: scores}, plane)) for title, scores in panels.items()}
    return BoundaryPictures(png_bytes(draw_boundaries(panels, plane)), single)
