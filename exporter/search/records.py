"""The steps of a study as plain values, read from Optuna's trials and their attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from .budget import Cost
from .halving import StepResult, TrialStep

#: A step whose process was lost is begun anew so often; a trial that kills each worker must come to an end.
RETRIES = 3

#: Attributes of a trial of Optuna: the trial and the epochs of its step; what makes it the same step as another one;
#: how many processes were lost with it before; whether it is the second of two that are the same.
TRIAL, EPOCHS, CLAIM, ATTEMPT, SURPLUS = "trial", "epochs", "claim", "attempt", "surplus"
#: Where it runs, whether that process gave it back, its problem, its time, what it costs, and what kind of trial it is.
WORKER, GIVEN_BACK, PROBLEM, SECONDS, COST, EXCESS, PRESET = (
    *("worker", "given_back", "problem", "seconds"),
    *("cost", "excess", "preset"),
)
#: The loss of a step that is done: no objective, so Optuna does not keep it with the values.
LOSS = "loss"

#: `lost`: its process died or gave it back, and another step does the same. `surplus`: two processes began the same
#: step at once, and this was the second.
State = Literal["waiting", "running", "done", "rejected", "failed", "lost", "surplus"]


class StepRecord(NamedTuple):
    """A step of a study.

    Attributes:
        number: of the step in the study.
        key: in the database.
        step: the trial, which has the number of its first step, and the epochs.
        state: see `State`.
        value: the choices that the study knows; those with one alternative are not among them.
        is_preset: whether it is the first step of a preset.
        claim: equal for steps that do the same; None for the first step of a new trial.
        attempt: how many processes were lost with it before.
        result: of a step that is done.
        cost, excess: of the untrained network, and its share of the budget, with the first step of each trial.
        seconds: of training, conversion and scoring.
        problem: of a step that failed.
        worker: the process that took it; None while it waits.
        was_given_back: whether a process that lives gave the step back.
        begun, ended: local times of the machine that wrote them.
    """

    number: int
    key: int
    step: TrialStep
    state: State
    value: dict[str, Any]
    is_preset: bool
    claim: str | None
    attempt: int
    result: StepResult | None
    cost: Cost | None
    excess: float | None
    seconds: float | None
    problem: str | None
    worker: str | None
    was_given_back: bool
    begun: datetime | None
    ended: datetime | None


def begun_trials(records: Iterable[StepRecord]) -> set[int]:
    """Numbers of the trials that are trained or were, or may be: all that were taken and not rejected."""
    taken, rejected = set(), set()
    for record in records:
        if record.state == "rejected":
            rejected.add(record.step.trial)
        elif record.state not in ("waiting", "surplus"):
            taken.add(record.step.trial)
    return taken - rejected


def last_results(records: Iterable[StepRecord]) -> dict[int, StepResult]:
    """What each trial reached at its last rung so far, by the number of the trial."""
    done = sorted(records, key=lambda record: record.step.epochs)
    return {record.step.trial: record.result for record in done if record.result is not None}


def is_surplus(mine: StepRecord, earlier: Sequence[StepRecord], trials: int | None) -> bool:
    """Whether an earlier step is the same, or a new trial is beyond the number of `trials`."""
    if mine.claim is not None:
        return any(record.claim == mine.claim for record in earlier)
    return trials is not None and len(begun_trials(earlier)) >= trials


def read_record(trial: FrozenTrial, first_rung: int) -> StepRecord:
    """The step of a trial of Optuna.

    Args:
        trial: with its attributes.
        first_rung: the epochs of a step whose process was killed before it could note them.
    """
    noted = trial.user_attrs
    attempt = noted.get(ATTEMPT, 0)
    state = _state(trial, attempt)
    problem = noted.get(PROBLEM)
    if state == "failed" and problem is None:
        problem = f"its process was lost {attempt + 1} times"
    cost = noted.get(COST)
    return StepRecord(
        number=trial.number,
        key=trial._trial_id,
        step=TrialStep(noted.get(TRIAL, trial.number), noted.get(EPOCHS, first_rung)),
        state=state,
        value=trial.system_attrs.get("fixed_params", {}) | trial.params,
        is_preset=noted.get(PRESET, False),
        claim=noted.get(CLAIM),
        attempt=attempt,
        result=StepResult(trial.values[0], tuple(trial.values[1:]), noted.get(LOSS)) if state == "done" else None,
        cost=None if cost is None else Cost(**cost),
        excess=noted.get(EXCESS),
        seconds=noted.get(SECONDS),
        problem=problem,
        worker=noted.get(WORKER),
        was_given_back=GIVEN_BACK in noted,
        begun=trial.datetime_start,
        ended=trial.datetime_complete,
    )


def _state(trial: FrozenTrial, attempt: int) -> State:
    if trial.state != TrialState.FAIL:
        names: dict[str, State]
        names = {"WAITING": "waiting", "RUNNING": "running", "COMPLETE": "done", "PRUNED": "rejected"}
        return names[trial.state.name]
    if SURPLUS in trial.user_attrs:
        return "surplus"
    is_lost = PROBLEM not in trial.user_attrs and (attempt < RETRIES or GIVEN_BACK in trial.user_attrs)
    return "lost" if is_lost else "failed"
