"""Figures of a model file, measured through the runtime's own Classifier."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import ExportError
from .run import Run

_PACKAGE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Scored:
    """What a model answered on the test split.

    Attributes:
        answers: int64, shape (n,): the class with the highest score for each picture.
        accuracy: share of right answers, 0 to 1.
        latency_ms: median and 95th percentile of one call, decoding included, on this machine.
        interpreter: library and version that ran it.
    """

    answers: npt.NDArray[np.int64]
    accuracy: float
    latency_ms: dict[str, float]
    interpreter: str

    def agreement(self, other: Scored) -> float:
        """Share of pictures on which both give the same answer."""
        return float((self.answers == other.answers).mean())


def score_model(model: Path, run: Run) -> Scored:
    """Score a model file on the whole test split, in a process without TensorFlow.

    Raises:
        ExportError: that process failed.
    """
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        out = Path(folder) / "scores.npz"
        # Run from where the package lies, so that no file of the user's folder can be imported in its place.
        command = [sys.executable, "-m", "exporter.scoring", str(model.resolve()), str(run.folder.resolve()), str(out)]
        status = subprocess.run(command, cwd=_PACKAGE_ROOT, check=False).returncode
        if status != 0:
            raise ExportError(f"{model.name}: scoring ended with status {status}; its reason stands above")
        with np.load(out, allow_pickle=False) as found:
            scores, seconds, interpreter = found["scores"], found["seconds"], str(found["interpreter"])
    answers = scores.argmax(axis=1)
    return Scored(
        answers=answers,
        accuracy=float((answers == run.targets[run.splits["test"]]).mean()),
        latency_ms={
            "median": round(float(np.median(seconds)) * 1000, 4),
            "p95": round(float(np.percentile(seconds, 95)) * 1000, 4),
        },
        interpreter=interpreter,
    )
