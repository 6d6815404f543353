"""`boundary.png` of a run on two features: what the model answers over their plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime import make_preprocessor

if TYPE_CHECKING:
    from ..train import TrainedRun

BOUNDARY = "boundary.png"
#: Points a side, and how far beyond the data they reach, as a share of what these span.
_SIDE, _MARGIN = 200, 0.1


def write_boundary(run: TrainedRun, folder: Path) -> None:
    """Draw the decision boundary into a run folder; nothing where the input is anything but two features."""
    spec = run.contract.input
    if spec.kind != "features" or len(spec.names) != 2:
        return
    from .decision_boundary import save_boundary

    vectors = np.asarray(run.dataset.pixels)
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    across, up = np.linspace(low - margin, high + margin, _SIDE).T
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    scores = np.asarray(run.model.predict(make_preprocessor(spec).scale(grid), batch_size=4096, verbose=0))
    if run.contract.task == "binary":
        scores = np.concatenate([1 - scores, scores], axis=1)
    test = run.splits.test
    title = f"{run.dataset.name}, Keras: test accuracy {run.metrics.accuracy:.4f}"
    save_boundary(
        folder / BOUNDARY,
        scores.reshape(_SIDE, _SIDE, -1),
        (across, up),
        (vectors[test], run.dataset.targets[test]),
        (spec.names, run.contract.labels, title),
    )
