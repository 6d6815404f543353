"""The search: tries one strategy after the other, until a file passes every gate on validation images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainer.data.run_folder import RunFolder
from trainer.evaluation.comparison import metric_title

from ..candidate import Candidate, CandidateBuilder, RecoveryAttempt
from ..errors import ExportError
from ..evaluated_model import EvaluatedModel, evaluate_model
from ..gates import REPAIRABLE
from ..model_converter import ModelConverter
from ..recipe import Recipe
from .strategies import strategies

_ORDINARY = "as it is"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecoverySearch:
    """Searches for a strategy that makes an int8 model pass the gates.

    Attributes:
        run: the run of the model.
        converter: for the Keras model.
        samples: the representative dataset, uint8, shape (n, height, width, channels).
        builder: makes the candidates; its run has validation images.
        plan: all recipes of the export; int16x8 can replace int8 only if it is not among them.
    """

    run: RunFolder
    converter: ModelConverter
    samples: npt.NDArray[np.uint8]
    builder: CandidateBuilder
    plan: Sequence[Recipe]

    def recover(self, candidate: Candidate, reference: Candidate) -> Candidate:
        """The first repair that passes every gate; the candidate itself if it needs none, or none passes.

        Args:
            candidate: the candidate; only those in int8 are repaired.
            reference: the float32 candidate.

        Raises:
            ExportError: the model cannot be scored.
        """
        if candidate.recipe.mode != "int8":
            return candidate
        before = self._evaluate(candidate, reference)
        if not REPAIRABLE & {gate.name for gate in before.failed}:
            return candidate
        name = candidate.recipe.name
        failures = "; ".join(gate.describe() for gate in before.failed)
        _log.info("%s %s, on the validation split: looking for a repair", name, failures)
        attempts = [_attempt(_ORDINARY, before)]
        allow_int16x8 = Recipe.int16x8() not in self.plan
        for strategy in strategies(self.run, self.converter, self.samples, candidate.recipe, allow_int16x8):
            _log.info("trying %s", strategy.name)
            try:
                repaired = self.builder.build(strategy.converter, strategy.model, strategy.recipe)
            except ExportError as error:  # the target lacks an operator, or the converter refuses
                _log.info("no repair: %s", error)
                continue
            after = self._evaluate(repaired, reference)
            attempts.append(_attempt(strategy.name, after))
            cost = _describe_cost(attempts[0], attempts[-1], metric_title(before.comparison.metrics[0].name))
            _log.info("%s and %s a call: %s", cost, _describe_latency(before, after), _verdict(after))
            if not after.failed:
                return _with_note(repaired, f"{name}: repaired by {strategy.name}: {cost}", attempts)
        tried = "; ".join(attempt.way for attempt in attempts[1:]) or "none is fit for it"
        return _with_note(candidate, f"{name}: no repair was found; tried: {tried}", attempts)

    def _evaluate(self, candidate: Candidate, reference: Candidate) -> EvaluatedModel:
        """The candidate's figures on validation images."""
        if candidate.validation is None or reference.validation is None:
            raise ExportError("a repair needs a validation split, and it is empty")
        latency = self.builder.scorer.time_calls(self.builder.write(candidate), "validation")
        limits = self.builder.config.limits
        cost = self.builder.cost_of(candidate)
        return evaluate_model(candidate, candidate.validation, latency, reference.validation, limits, cost=cost)


def _with_note(candidate: Candidate, note: str, attempts: Sequence[RecoveryAttempt]) -> Candidate:
    return replace(candidate, notes=(*candidate.notes, note), recovery=tuple(attempts))


def _attempt(way: str, found: EvaluatedModel) -> RecoveryAttempt:
    comparison = found.comparison
    size = len(found.candidate.content)
    return RecoveryAttempt(way, comparison.metrics[0].value, comparison.drop, size, not found.failed)


def _describe_cost(before: RecoveryAttempt, after: RecoveryAttempt, metric: str) -> str:
    """The loss in points, and the size in bytes. The latency is only logged, since a report must not vary."""
    return (
        f"on validation data it loses {100 * after.drop:.2f} points of {metric} instead of {100 * before.drop:.2f}, "
        f"for {after.bytes - before.bytes:+,} bytes"
    )


def _describe_latency(before: EvaluatedModel, after: EvaluatedModel) -> str:
    return f"{before.latency_ms['median']:.3f} -> {after.latency_ms['median']:.3f} ms"


def _verdict(found: EvaluatedModel) -> str:
    return found.verdict if found.failed else "passes"
