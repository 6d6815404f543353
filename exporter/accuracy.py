"""Figures of a model file, measured through the runtime's own Classifier, and what they say beside float32's."""

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
from .scoring import REASON_SUFFIX
from .statistics import (
    Interval,
    Reliability,
    confusion_matrix,
    mcnemar,
    paired_interval,
    recalls,
    reliability,
    wilson_interval,
)

_PACKAGE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Scored:
    """What a model answered on a split.

    Attributes:
        scores: float32, shape (n, labels).
        targets: int64, shape (n,): the truth.
        latency_ms: median and 95th percentile of one call, decoding included, on this machine.
        interpreter: library and version that ran it.
        plain: the same as scores, but without the temperature of the file's contract.
        step: the scale of the output, 0 where it is float.
    """

    scores: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    latency_ms: dict[str, float]
    interpreter: str
    plain: npt.NDArray[np.float32]
    step: float = 0.0

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """The class with the highest score for each picture, shape (n,)."""
        answers: npt.NDArray[np.int64] = self.scores.argmax(axis=1)
        return answers

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the answer is the truth, shape (n,)."""
        right: npt.NDArray[np.bool_] = self.answers == self.targets
        return right


def score_model(model: Path, run: Run, split: str = "test", library: str = "auto") -> Scored:
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
    return Scored(scores, targets, {"median": median, "p95": p95}, interpreter, plain, step)


@dataclass(frozen=True)
class Comparison:
    """A model beside the reference on the same pictures; shares are 0 to 1, intervals of 95 %.

    Attributes:
        accuracy, accuracy_interval: of the model.
        drop, drop_interval: what it loses against the reference; negative where it wins.
        p_value: McNemar's exact test that both are right equally often.
        agreement: share of pictures on which both give the same answer.
        recall: of each class; None for one without pictures.
        class_drop: the most recall that a class loses, 0 where none does.
        worst_class: the index of that class; None where none loses.
        confusion: shape (classes, classes), rows the truth.
        reliability: expected calibration error, and the diagram's bins.
        untempered: the same without the temperature of the file's contract.
    """

    accuracy: float
    accuracy_interval: Interval
    drop: float
    drop_interval: Interval
    p_value: float
    agreement: float
    recall: list[float | None]
    class_drop: float
    worst_class: int | None
    confusion: npt.NDArray[np.int64]
    reliability: Reliability
    untempered: Reliability


def compare(scored: Scored, reference: Scored) -> Comparison:
    """All figures of a model, against what the reference answered to the same pictures."""
    total, classes = scored.scores.shape
    lost = int((reference.right & ~scored.right).sum())
    won = int((~reference.right & scored.right).sum())
    confusion = confusion_matrix(scored.targets, scored.answers, classes)
    recall = recalls(confusion)
    before = recalls(confusion_matrix(reference.targets, reference.answers, classes))
    drops = [0.0 if a is None or b is None else b - a for a, b in zip(recall, before, strict=True)]
    worst = int(np.argmax(drops))
    return Comparison(
        accuracy=float(scored.right.mean()),
        accuracy_interval=wilson_interval(int(scored.right.sum()), total),
        drop=(lost - won) / total,
        drop_interval=paired_interval(lost, won, total),
        p_value=mcnemar(lost, won),
        agreement=float((scored.answers == reference.answers).mean()),
        recall=recall,
        class_drop=max(0.0, drops[worst]),
        worst_class=worst if drops[worst] > 0 else None,
        confusion=confusion,
        reliability=reliability(scored.scores, scored.targets),
        untempered=reliability(scored.plain, scored.targets),
    )
