"""What is added to a study: steps that were lost, presets, and trials that go on.

Each has a claim. Two processes may add the same step at once; `SearchStudy` then does the one with the lower number.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from . import records as attribute
from .halving import TrialStep, next_promotion
from .records import StepRecord

_log = logging.getLogger(__name__)


def add_lost(study: optuna.Study, records: Sequence[StepRecord]) -> bool:
    """Add the steps that are lost and wait nowhere yet; the process that did this last may have been killed.

    Returns:
        Whether there was one.
    """
    claims, is_any = {record.claim for record in records}, False
    for record in records:
        claim = f"again {record.number}"
        if record.state == "lost" and claim not in claims:
            if not record.was_given_back:
                _log.info("trial %d waits again: the process that had it is gone", record.step.trial)
            _add(study, record, record.step, claim, record.attempt + (not record.was_given_back))
            is_any = True
    return is_any


def add_next(
    study: optuna.Study,
    records: Sequence[StepRecord],
    presets: Sequence[Mapping[str, Any]],
    rungs: Sequence[int],
    is_full: bool,
) -> bool:
    """Add the next preset, or a trial that goes on to the next rung.

    Args:
        study: of the search.
        records: all of its steps.
        presets: values of the space.
        rungs: from `make_rungs`.
        is_full: whether no new trial may begin.

    Returns:
        Whether there was one.
    """
    claims = {record.claim for record in records}
    for place, value in enumerate(presets):
        claim = f"preset {place}"
        if claim not in claims and not is_full:
            noted = {attribute.PRESET: True, attribute.CLAIM: claim, attribute.EPOCHS: rungs[0]}
            study.enqueue_trial(dict(value), user_attrs=noted)
            return True
    results = {record.step: record.result for record in records if record.result is not None}
    kept = {record.step.trial for record in records if record.is_preset and record.state != "surplus"}
    step = next_promotion(results, rungs, {record.step for record in records}, kept, least=int(is_full))
    if step is None:
        return False
    # The first step may have been killed before its values were drawn; one that is done has all of them.
    done = next(record for record in records if record.result is not None and record.step.trial == step.trial)
    _add(study, done, step, f"{step.trial} to {step.epochs}")
    return True


def _add(study: optuna.Study, source: StepRecord, step: TrialStep, claim: str, attempt: int = 0) -> None:
    noted: dict[str, Any] = {attribute.TRIAL: step.trial, attribute.EPOCHS: step.epochs}
    noted |= {attribute.CLAIM: claim, attribute.ATTEMPT: attempt}
    if source.is_preset and step == source.step:
        noted[attribute.PRESET] = True
    if source.cost is not None:
        noted |= {attribute.COST: source.cost._asdict(), attribute.EXCESS: source.excess}
    study.enqueue_trial(source.value, user_attrs=noted)
