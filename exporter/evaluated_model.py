"""One file as it was made and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runtime import Confidence
from trainer.evaluation.calibration_error import rejection
from trainer.evaluation.comparison import Comparison, compare, metric_title
from trainer.evaluation.predictions import Predictions

from .candidate import Candidate, RecoveryAttempt
from .edgetpu import Mapping
from .gates import Gate, Limits, check_gates
from .recipe import Recipe

REFERENCE = "reference"
_NOT_FITTED = Confidence()


@dataclass(frozen=True)
class EvaluatedModel:
    """A model file beside the float32 reference.

    Attributes:
        recipe: what was made.
        content: the whole file.
        scored: its scores on the test split.
        comparison: its figures beside the reference's.
        gates: what was asked of it; empty for a reference that nothing is asked of.
        is_reference: whether the others are compared with it.
        notes: what was done to it beside the recipe, a line each.
        edgetpu: where each operator would run on a Coral; empty unless asked for.
        confidence: temperature and threshold in its contract.
        repair: the ways that were tried on validation images where it had to be repaired.
    """

    recipe: Recipe
    content: bytes
    scored: Predictions
    comparison: Comparison
    gates: tuple[Gate, ...]
    is_reference: bool
    notes: tuple[str, ...] = ()
    edgetpu: tuple[Mapping, ...] = ()
    confidence: Confidence = _NOT_FITTED
    repair: tuple[RecoveryAttempt, ...] = ()

    @property
    def failed(self) -> tuple[Gate, ...]:
        """The gates that it did not pass."""
        return tuple(gate for gate in self.gates if not gate.passed)

    @property
    def verdict(self) -> str:
        """`"failed: "` and the names of the gates, `"passed"`, or `"reference"`."""
        if self.failed:
            return f"failed: {', '.join(gate.name for gate in self.failed)}"
        return REFERENCE if self.is_reference else "passed"

    @property
    def file_name(self) -> str:
        """What it is called once it is published."""
        return f"{self.recipe.name}.tflite"

    def as_dict(self, file_name: str, labels: Sequence[str]) -> dict[str, Any]:
        """Its entry in `report.json`: only figures that are the same every time."""
        found = self.comparison
        return {
            "file": file_name,
            "mode": self.recipe.mode,
            "io": self.recipe.io,
            "bytes": len(self.content),
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "accuracy": found.accuracy,
            "accuracy_interval": list(found.accuracy_interval),
            "drop": found.drop,
            "drop_interval": None if self.is_reference else list(found.drop_interval),
            "metrics": [metric.as_dict(self.is_reference) for metric in found.metrics],
            "p_value": None if self.is_reference else found.p_value,
            "agreement": found.agreement,
            "recall": _by(labels, found.recall),
            **({} if found.average_precision is None else {"average_precision": _by(labels, found.average_precision)}),
            "class_drop": found.class_drop,
            "worst_class": None if found.worst_class is None else labels[found.worst_class],
            "calibration_error": found.reliability.error,
            "calibration_error_untempered": found.uncalibrated.error,
            "temperature": self.confidence.temperature,
            "threshold": self.confidence.threshold,
            "rejection": asdict(rejection(self.scored.scores, self.scored.targets, self.confidence.threshold)),
            "confusion": found.confusion.tolist(),
            "interpreter": self.scored.interpreter,
            "gate": self.verdict,
            "gates": [gate.as_dict() for gate in self.gates],
            "notes": list(self.notes),
            "repair": [asdict(tried) for tried in self.repair],
            "edgetpu": [mapping.as_dict() for mapping in self.edgetpu],
        }


def _by(labels: Sequence[str], figures: Sequence[float | None]) -> dict[str, float | None]:
    return dict(zip(labels, figures, strict=True))


def measure(
    made: Candidate, scored: Predictions, reference: EvaluatedModel | None, limits: Limits | None
) -> EvaluatedModel:
    """The figures of one file.

    Args:
        reference: the float32 model; None where this is it.
        limits: what is asked of it; None where nothing is.
    """
    comparison = compare(scored, reference.scored if reference else scored)
    gates = (
        ()
        if limits is None
        else check_gates(
            limits,
            drops={metric_title(metric.name): metric.drop for metric in comparison.metrics},
            class_drop=comparison.class_drop,
            agreement=comparison.agreement,
            size=len(made.content),
            latency_ms=scored.latency_ms["median"],
        )
    )
    is_reference = reference is None
    told = (made.notes, made.edgetpu, made.confidence, made.repair)
    return EvaluatedModel(made.recipe, made.content, scored, comparison, gates, is_reference, *told)
