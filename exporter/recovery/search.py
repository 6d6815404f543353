"""The search: one way after the other, until a file passes every gate on validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.comparison import metric_title

from ..candidate import RecoveryAttempt
from ..candidate_builder import Attempt, CandidateBuilder
from ..errors import ExportError
from ..evaluated_model import EvaluatedModel, measure
from ..gates import OF_ANSWERS, Limits
from ..recipe import Recipe
from .strategies import ways

_ORDINARY = "as it is"


@dataclass(frozen=True)
class RecoverySearch:
    """Repairs int8 models.

    Attributes:
        model: the Keras model.
        pixels: the calibration images, uint8, shape (n, height, width, channels).
        limits: the gates.
        plan: all that is made; int16x8 stands in only where it is not made anyway.
    """

    model: Any
    pixels: npt.NDArray[np.uint8]
    limits: Limits
    plan: Sequence[Recipe]

    def __call__(
        self, attempt: Attempt, reference: Attempt, workshop: CandidateBuilder, say: Callable[[str], None]
    ) -> Attempt:
        """The attempt itself where it needs no repair or finds none, else the first that passes every gate.

        Args:
            attempt: of any recipe; only int8 is repaired.
            reference: the float32 one.
            workshop: both were made in; its run has validation images.
            say: called with a line for each way.

        Raises:
            ExportError: as `CandidateBuilder.attempt` does of an ordinary attempt.
        """
        found = self._judge(attempt, reference)
        if attempt.made.recipe.mode != "int8" or not OF_ANSWERS & {gate.name for gate in found.failed}:
            return attempt
        name = attempt.made.recipe.name
        say(f"{name} {'; '.join(gate.describe() for gate in found.failed)}, on validation images: looking for a repair")
        tried = [_tried(_ORDINARY, found)]
        wide = Recipe.int16x8() not in self.plan
        for way in ways(workshop.run, self.model, self.pixels, attempt.made.recipe, wide):
            say(f"trying {way.name}")
            try:
                candidate = workshop.attempt(way.converter, way.model, way.recipe)
            except ExportError as error:  # the target lacks an operator, or the converter refuses
                say(f"no repair: {error}")
                continue
            judged = self._judge(candidate, reference)
            tried.append(_tried(way.name, judged))
            say(_told(tried[0], tried[-1], found, judged))
            if not judged.failed:
                cost = _cost(tried[0], tried[-1], _metric(found))
                return _with(candidate, f"{name}: repaired by {way.name}: {cost}", tried)
        ways_tried = "; ".join(each.way for each in tried[1:]) or "none is fit for it"
        return _with(attempt, f"{name}: no repair was found; tried: {ways_tried}", tried)

    def _judge(self, attempt: Attempt, reference: Attempt) -> EvaluatedModel:
        if attempt.seen is None or reference.seen is None:
            raise ExportError("--repair is judged on validation images, and there are none; name them by --val")
        ideal = measure(reference.made, reference.seen, None, None)
        return measure(attempt.made, attempt.seen, ideal, self.limits)


def _with(attempt: Attempt, note: str, tried: Sequence[RecoveryAttempt]) -> Attempt:
    made = attempt.made
    return replace(attempt, made=replace(made, notes=(*made.notes, note), repair=tuple(tried)))


def _metric(found: EvaluatedModel) -> str:
    return metric_title(found.comparison.metrics[0].name)


def _tried(way: str, judged: EvaluatedModel) -> RecoveryAttempt:
    found = judged.comparison
    return RecoveryAttempt(way, found.metrics[0].value, found.drop, len(judged.content), not judged.failed)


def _cost(before: RecoveryAttempt, after: RecoveryAttempt, metric: str) -> str:
    """In points and bytes; what was timed is only said, since a report is the same each time."""
    return (
        f"on validation images it loses {100 * after.drop:.2f} points of {metric} instead of {100 * before.drop:.2f}, "
        f"for {after.bytes - before.bytes:+,} bytes"
    )


def _told(before: RecoveryAttempt, after: RecoveryAttempt, found: EvaluatedModel, judged: EvaluatedModel) -> str:
    milliseconds = f"{found.scored.latency_ms['median']:.3f} -> {judged.scored.latency_ms['median']:.3f} ms"
    verdict = "passes" if after.passed else judged.verdict
    return f"{_cost(before, after, _metric(found))} and {milliseconds} a call: {verdict}"
