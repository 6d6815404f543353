"""Scores of a model file for a split, computed by the runtime's own Classifier in a child process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from trainer.data.run_folder import RunFolder
from trainer.evaluation.predictions import Predictions

from .errors import ExportError
from .scoring import REASON_SUFFIX

_PACKAGE_ROOT = Path(__file__).resolve().parents[1]


def score_model(model: Path, run: RunFolder, split: str = "test", library: str = "auto") -> Predictions:
    """Score a model file on a whole split, in a process without TensorFlow.

    Args:
        library: the interpreter's, as `Classifier` takes it.

    Raises:
        ExportError: that process failed, or the split is empty.
    """
    targets = run.targets[run.splits[split]]
    if not len(targets):
        raise ExportError(f"{run.folder}: the {split} split is empty: nothing to measure with")
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        out = Path(folder) / "scores.npz"
        # Run from where the package lies, so that no file of the user's folder can be imported in its place.
        command = [sys.executable, "-m", "exporter.scoring", str(model.resolve()), str(run.folder.resolve())]
        status = subprocess.run([*command, str(out), split, library], cwd=_PACKAGE_ROOT, check=False).returncode
        if status != 0:
            reason = Path(f"{out}{REASON_SUFFIX}")
            told = reason.read_text(encoding="utf-8") if reason.is_file() else f"its process ended with status {status}"
            raise ExportError(f"{model.name}: cannot be scored: {told}")
        with np.load(out, allow_pickle=False) as found:
            scores, plain, step = found["scores"], found["plain"], float(found["step"])
            seconds, interpreter = found["seconds"], str(found["interpreter"])
    median, p95 = (round(float(np.percentile(seconds, q)) * 1000, 4) for q in (50, 95))
    latency = {"median": median, "p95": p95}
    return Predictions(scores, targets, run.contract.task, plain, step, latency, interpreter)
