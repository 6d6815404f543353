"""Figures of a model file, measured through the runtime's own Classifier, and what they say beside float32's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.run_folder import RunFolder
from trainer.evaluation.statistics import (
    DECISION,
    Interval,
    Reliability,
    confusion_matrix,
    label_confusions,
    mcnemar,
    recalls,
    reliability,
    wilson_interval,
)

from .errors import ExportError
from .scoring import REASON_SUFFIX
from .task_metrics import Metric, judge, label_precisions

_PACKAGE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Scored:
    """What a model answered on a split.

    Attributes:
        scores: float32, shape (n, labels).
        targets: int64, shape (n,): the truth; of the task multilabel 0 or 1, shape (n, labels).
        latency_ms: median and 95th percentile of one call, decoding included, on this machine.
        interpreter: library and version that ran it.
        plain: the same as scores, but without the temperature of the file's contract.
        step: the scale of the output, 0 where it is float.
        task: of the contract.
    """

    scores: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    latency_ms: dict[str, float]
    interpreter: str
    plain: npt.NDArray[np.float32]
    step: float = 0.0
    task: str = "multiclass"

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """The class with the highest score for each picture, shape (n,); of multilabel 1 for each label that reaches
        a half, shape (n, labels)."""
        if self.task == "multilabel":
            return (self.scores >= DECISION).astype(np.int64)
        answers: npt.NDArray[np.int64] = self.scores.argmax(axis=1)
        return answers

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the answer is the truth, shape (n,); of multilabel, whether all of it is."""
        return self.same_as(self.targets)

    def same_as(self, answers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether the answers are these, shape (n,); of multilabel, whether the labels are the same."""
        same: npt.NDArray[np.bool_] = self.answers == answers
        return same if same.ndim == 1 else same.all(axis=1)


def score_model(model: Path, run: RunFolder, split: str = "test", library: str = "auto") -> Scored:
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
    return Scored(scores, targets, {"median": median, "p95": p95}, interpreter, plain, step, run.contract.task)


@dataclass(frozen=True)
class Comparison:
    """A model beside the reference on the same pictures; shares are 0 to 1, intervals of 95 %.

    Attributes:
        accuracy, accuracy_interval: of the model; of multilabel, the share of pictures with every label right.
        metrics: the task's own figures; for multiclass accuracy alone.
        p_value: McNemar's exact test that both are right equally often.
        agreement: share of pictures on which both give the same answer.
        recall: of each class; None for one without pictures.
        average_precision: of each label of multilabel, likewise; None for the other tasks.
        class_drop: the most recall, or of multilabel average precision, that a class loses, 0 where none does.
        worst_class: the index of that class; None where none loses.
        confusion: shape (classes, classes), rows the truth; of multilabel (labels, 2, 2): without it, with it.
        reliability: expected calibration error, and the diagram's bins.
        untempered: the same without the temperature of the file's contract.
    """

    accuracy: float
    accuracy_interval: Interval
    metrics: tuple[Metric, ...]
    p_value: float
    agreement: float
    recall: list[float | None]
    average_precision: list[float | None] | None
    class_drop: float
    worst_class: int | None
    confusion: npt.NDArray[np.int64]
    reliability: Reliability
    untempered: Reliability

    @property
    def drop(self) -> float:
        """What the first of the task's figures loses against the reference; negative where it wins."""
        return self.metrics[0].drop

    @property
    def drop_interval(self) -> Interval:
        """Its interval."""
        return self.metrics[0].drop_interval

    def by_class(self) -> list[float | None]:
        """The figure of each class of which `class_drop` speaks."""
        return self.recall if self.average_precision is None else self.average_precision


def compare(scored: Scored, reference: Scored) -> Comparison:
    """All figures of a model, against what the reference answered to the same pictures."""
    total = len(scored.targets)
    lost = int((reference.right & ~scored.right).sum())
    won = int((~reference.right & scored.right).sum())
    confusion, confusion_before = (_confusion(model) for model in (scored, reference))
    recall, precisions = recalls(confusion), None
    after, before = recall, recalls(confusion_before)
    if scored.task == "multilabel":
        after = precisions = label_precisions(scored)
        before = label_precisions(reference)
    drops = [0.0 if a is None or b is None else b - a for a, b in zip(after, before, strict=True)]
    worst = int(np.argmax(drops))
    return Comparison(
        accuracy=float(scored.right.mean()),
        accuracy_interval=wilson_interval(int(scored.right.sum()), total),
        metrics=judge(scored, reference),
        p_value=mcnemar(lost, won),
        agreement=float(scored.same_as(reference.answers).mean()),
        recall=recall,
        average_precision=precisions,
        class_drop=max(0.0, drops[worst]),
        worst_class=worst if drops[worst] > 0 else None,
        confusion=confusion,
        reliability=reliability(scored.scores, scored.targets),
        untempered=reliability(scored.plain, scored.targets),
    )


def _confusion(scored: Scored) -> npt.NDArray[np.int64]:
    if scored.task == "multilabel":
        return label_confusions(scored.targets, scored.answers)
    return confusion_matrix(scored.targets, scored.answers, scored.scores.shape[1])
