"""The decision boundary of a model on two features: Keras's, and each file's as a device answers.

The files are answered in a process of its own that never imports TensorFlow, as for `scoring`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime import Classifier, make_preprocessor
from runtime.errors import describe
from runtime.features import Vector
from runtime.input_spec import FeaturesInput
from runtime.native_output import held_stderr
from trainer.data.run_folder import RunFolder

from .errors import ExportError

BOUNDARY = "boundary.png"
#: Points a side.
_SIDE = 100
_MARGIN = 0.1
_PACKAGE_ROOT = Path(__file__).resolve().parents[1]
Scores = npt.NDArray[np.float32]


def draw_boundary(run: RunFolder, files: Sequence[Path], library: str) -> bytes | None:
    """Keras's answers over the plane and each file's, side by side, with the test vectors; None but for two features.

    Args:
        files: model files.
        library: the interpreter's, as `Classifier` takes it.

    Raises:
        ExportError: a file cannot be scored, or the model not be loaded.
    """
    spec = run.contract.input
    if spec.kind != "features" or len(spec.names) != 2:
        return None
    from .report.plots_boundary import Plane, boundaries

    vectors: Vector = np.stack([*map(run.source.sample, range(len(run.source)))])
    across, up = plane(vectors)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    found = {"Keras": _keras(run, spec, grid)}
    found |= {path.name: scores for path, scores in zip(files, _scores(files, grid, library), strict=True)}
    test = run.splits["test"]
    looked_at = Plane(across, up, spec.names, run.contract.labels, vectors[test], run.targets[test])
    return boundaries({name: scores.reshape(_SIDE, _SIDE, -1) for name, scores in found.items()}, looked_at)


def plane(vectors: Vector) -> tuple[Vector, Vector]:
    """The values of both features at which the plane is looked at: all that the data span, and a little more."""
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    across, up = np.linspace(low - margin, high + margin, _SIDE).T
    return across, up


def _keras(run: RunFolder, spec: FeaturesInput, grid: Vector) -> Scores:
    from .keras_loading import load_classifier

    scores = np.asarray(
        load_classifier(run.model_path, spec.kind).predict(make_preprocessor(spec).scale(grid), verbose=0)
    )
    return np.concatenate([1 - scores, scores], axis=1) if run.contract.task == "binary" else scores


def _scores(files: Sequence[Path], grid: Vector, library: str) -> list[Scores]:
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as name:
        folder = Path(name)
        np.save(folder / "grid.npy", grid)
        command = [
            sys.executable,
            "-m",
            "exporter.decision_boundary",
            name,
            library,
            *(str(path.resolve()) for path in files),
        ]
        # Run from where the package lies, so that no file of the user's folder can be imported in its place.
        done = subprocess.run(command, cwd=_PACKAGE_ROOT, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}"]
            raise ExportError(f"the decision boundary cannot be drawn: {reason[-1]}")
        return [np.load(folder / f"{number}.npy", allow_pickle=False) for number in range(len(files))]


def _child(folder: Path, library: str, files: Sequence[str]) -> None:
    grid = np.load(folder / "grid.npy", allow_pickle=False)
    for number, path in enumerate(files):
        with held_stderr():  # the interpreter announces its delegates
            classifier = Classifier(path, interpreter=library)
        rows = [classifier.interpret(classifier.run(vector), tempered=False) for vector in grid]
        np.save(folder / f"{number}.npy", np.stack(rows))


if __name__ == "__main__":
    try:
        _child(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
    except Exception as problem:
        sys.exit(describe(problem))
