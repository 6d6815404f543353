"""The decision boundary of a run on two features: of the Keras model, and of each model file as on a device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime import Classifier
from runtime.child_process import ChildError, call_in_child
from runtime.native_output import held_stderr

from .errors import ExportError

if TYPE_CHECKING:
    from trainer.data.run_folder import RunFolder
    from trainer.evaluation.predictions import Scores

#: Points of each feature.
_SIDE = 100
_KERAS = "Keras"


def draw_boundary(run: RunFolder, files: Sequence[Path], library: str) -> bytes | None:
    """Draw the predictions of Keras and of each file over the plane, side by side, with the test vectors.

    Args:
        files: model files.
        library: name of the interpreter, as `Classifier` takes it.

    Returns:
        The drawing as a PNG; None where the model takes anything but two features.

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
    for path, scores in zip(files, _score_files(files, plane.grid, library), strict=True):
        same = float((scores.argmax(axis=1) == reference.argmax(axis=1)).mean())
        panels[f"{path.name}: {100 * same:.2f} % as {_KERAS}"] = scores
    return png_bytes(draw_boundaries(panels, plane))


def _score_files(files: Sequence[Path], grid: npt.NDArray[np.float64], library: str) -> list[Scores]:
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as name:
        folder = Path(name)
        np.save(folder / "grid.npy", grid)
        try:
            call_in_child(
                "exporter.decision_boundary:score_grid", name, [str(path.resolve()) for path in files], library
            )
        except ChildError as error:
            raise ExportError(f"the decision boundary cannot be drawn: {error}") from error
        return [np.load(folder / f"{number}.npy", allow_pickle=False) for number in range(len(files))]


def score_grid(folder: str, files: Sequence[str], library: str) -> None:
    """Score the vectors in `grid.npy` with each file, without its temperature, in a child process.

    Writes float32 scores of shape (n, labels) to `0.npy`, `1.npy` and so on.
    """
    grid = np.load(Path(folder, "grid.npy"), allow_pickle=False)
    for number, path in enumerate(files):
        with held_stderr():  # the interpreter announces its delegates
            classifier = Classifier(path, interpreter=library)
        rows = [classifier.interpret(classifier.run(vector), tempered=False) for vector in grid]
        np.save(Path(folder, f"{number}.npy"), np.stack(rows))
