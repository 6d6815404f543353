"""One candidate after its evaluation on the test split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainer.evaluation.calibration_error import rejection
from trainer.evaluation.comparison import Comparison, compare_predictions, metric_title
from trainer.evaluation.predictions import DECISION_THRESHOLD, Predictions
from trainer.evaluation.robustness import Robustness

from .budget.predict import CostPrediction
from .candidate import Candidate
from .gates import Gate, Limits, MeasuredSamples, check_gates

REFERENCE = "reference"


@dataclass(frozen=True)
class EvaluatedModel:
    """A candidate beside the float32 reference.

    Attributes:
        candidate: the model.
        predictions: its predictions for the split that it was evaluated on.
        latency_ms: `median` and `p95` of one call on this machine, decoding included.
        comparison: its figures, compared with the reference's.
        gates: the gates that were checked; empty for a reference among other models.
        is_reference: whether the other models are compared with it.
        robustness: its figures under corruptions; None if they were not measured.
        cost: what it will cost on a device; None without a device's profile.
    """

    candidate: Candidate
    predictions: Predictions
    latency_ms: Mapping[str, float]
    comparison: Comparison
    gates: tuple[Gate, ...]
    is_reference: bool
    robustness: Robustness | None = None
    cost: CostPrediction | None = None

    @property
    def name(self) -> str:
        """The name of its recipe."""
        return self.candidate.recipe.name

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

    def as_dict(self, file_name: str, labels: Sequence[str], reference: Robustness | None = None) -> dict[str, Any]:
        """Its entry in `report.json`: only figures that are the same every time.

        Args:
            reference: the float32 model's figures under corruptions.
        """
        candidate, found = self.candidate, self.comparison
        threshold, decision = candidate.confidence.threshold, candidate.confidence.decision
        return {
            "file": file_name,
            "mode": candidate.recipe.mode,
            "io": candidate.recipe.io,
            "bytes": len(candidate.content),
            "sha256": hashlib.sha256(candidate.content).hexdigest(),
            "accuracy": found.accuracy,
            "accuracy_interval": list(found.accuracy_interval),
            "drop": found.drop,
            "drop_interval": None if self.is_reference else list(found.drop_interval),
            "metrics": [metric.as_dict(self.is_reference) for metric in found.metrics],
            "p_value": None if self.is_reference else found.p_value,
            "agreement": found.agreement,
            "recall": _by_label(labels, found.recall),
            **(
                {}
                if found.average_precision is None
                else {"average_precision": _by_label(labels, found.average_precision)}
            ),
            "class_drop": found.class_drop,
            "worst_class": None if found.worst_class is None else labels[found.worst_class],
            "calibration_error": found.reliability.error,
            "calibration_error_untempered": found.uncalibrated.error,
            "temperature": candidate.confidence.temperature,
            "threshold": threshold,
            **({} if decision == DECISION_THRESHOLD else {"decision": decision}),
            "rejection": asdict(rejection(self.predictions.scores, self.predictions.targets, threshold)),
            "confusion": found.confusion.tolist(),
            **({} if self.robustness is None else {"corruptions": self.robustness.as_dict(reference)}),
            **({} if self.cost is None else {"predicted": self.cost.as_dict()}),
            "interpreter": self.predictions.interpreter,
            "gate": self.verdict,
            "gates": [gate.as_dict() for gate in self.gates],
            "notes": list(candidate.notes),
            "repair": [asdict(attempt) for attempt in candidate.recovery],
            "edgetpu": [mapping.as_dict() for mapping in candidate.edgetpu],
        }


def _by_label(labels: Sequence[str], figures: Sequence[float | None]) -> dict[str, float | None]:
    return dict(zip(labels, figures, strict=True))


def evaluate_model(
    candidate: Candidate,
    predictions: Predictions,
    latency_ms: Mapping[str, float],
    reference: Predictions | None,
    limits: Limits | None,
    robustness: Robustness | None = None,
    cost: CostPrediction | None = None,
) -> EvaluatedModel:
    """The figures of one candidate.

    Args:
        reference: the predictions of the float32 model; None for that model itself.
        limits: the limits of the gates; None to check no gate.
        robustness: its figures under corruptions, if they were measured.
        cost: what it will cost on a device, if there is a profile.

    Raises:
        ProfileError: a limit of the latency cannot be checked, as the device has not measured one of its operators.
    """
    comparison = compare_predictions(predictions, predictions if reference is None else reference)
    gates: tuple[Gate, ...] = ()
    if limits is not None:
        gates = check_gates(
            limits,
            accuracy=comparison.metrics[0].value,
            drops={metric_title(metric.name): metric.drop for metric in comparison.metrics},
            class_drop=comparison.class_drop,
            agreement=comparison.agreement,
            size=len(candidate.content),
            latency_ms=latency_ms["median"],
            samples=_measured_samples(candidate, predictions, comparison),
            robustness=robustness,
            cost=cost,
        )
    return EvaluatedModel(candidate, predictions, latency_ms, comparison, gates, reference is None, robustness, cost)


def _measured_samples(candidate: Candidate, predictions: Predictions, comparison: Comparison) -> MeasuredSamples:
    support = comparison.confusion.sum(axis=-1)
    support = support[:, 1] if support.ndim == 2 else support
    return MeasuredSamples(
        len(predictions.targets),
        0 if comparison.worst_class is None else int(support[comparison.worst_class]),
        candidate.contract.input.noun,
        comparison.p_value,
        counts_predictions=comparison.average_precision is None,
    )


def evaluate_candidates(
    candidates: Sequence[Candidate],
    predictions: Sequence[Predictions],
    latencies: Sequence[Mapping[str, float]],
    limits: Limits,
    robustness: Sequence[Robustness | None] = (),
    costs: Sequence[CostPrediction | None] = (),
) -> list[EvaluatedModel]:
    """All candidates of an export, the reference first. No gate is checked for the reference among other models.

    Args:
        predictions, latencies: those of the candidates, in the same order.
        robustness: likewise, if the figures under corruptions were measured.
        costs: likewise, if there is a device's profile.

    Raises:
        ProfileError: as `evaluate_model` does.
    """
    first, *_ = predictions
    only_reference = len(candidates) == 1
    nothing = [None] * len(candidates)
    return [
        evaluate_model(
            candidate,
            found,
            latency,
            reference=None if found is first else first,
            limits=None if found is first and not only_reference else limits,
            robustness=under_corruptions,
            cost=cost,
        )
        for candidate, found, latency, under_corruptions, cost in zip(
            candidates, predictions, latencies, robustness or nothing, costs or nothing, strict=True
        )
    ]
