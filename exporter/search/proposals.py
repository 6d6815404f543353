"""The values of new trials: drawn by Optuna's sampler from what the trials so far have reached.

The study has several objectives, and a sampler for all of them aims at the whole front, small networks included. A
search has a budget, and looks for the most accurate network within it. So the sampler here gets accuracy alone, in a
study in memory. What exceeded the budget counts as the worst.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from .records import StepRecord
from .space import Space

#: Trained trials before which values are drawn at random.
RANDOM_TRIALS = 10
#: Draws for a network that may fit; the last one is given whether it may or not.
_MOST_DRAWS = 200
_REJECTED = -1.0


def propose(
    space: Space,
    trials: Sequence[FrozenTrial],
    records: Sequence[StepRecord],
    seed: int,
    may_fit: Callable[[Mapping[str, Any]], bool],
) -> dict[str, Any]:
    """The choices of a new trial, those with one alternative left out.

    Args:
        space: what is tried.
        trials, records: the steps of the study, as Optuna keeps them and as records, in the same order.
        seed: the same seed and steps give the same choices.
        may_fit: whether a value may be within the budget, as far as that is known without its network.
    """
    known = _known(trials, records)
    trained = sum(trial.value != _REJECTED for trial in known)
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if trained >= RANDOM_TRIALS:
            sampler = optuna.samplers.TPESampler(n_startup_trials=0, multivariate=True, group=True, seed=seed)
        drawing = optuna.create_study(direction="maximize", sampler=sampler)
        drawing.add_trials(known)
        for _ in range(_MOST_DRAWS):
            trial = drawing.ask()
            if may_fit(space.suggest(trial)):
                break
    return dict(trial.params)


def _known(trials: Sequence[FrozenTrial], records: Sequence[StepRecord]) -> list[FrozenTrial]:
    """A trial for each one that was trained, with the accuracy of its last rung, or rejected."""
    last: dict[int, StepRecord] = {}
    for record in records:
        before = last.get(record.step.trial)
        if record.state == "rejected" or (
            record.result is not None and (before is None or before.step.epochs <= record.step.epochs)
        ):
            last[record.step.trial] = record
    return [
        optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            params=trials[record.number].params,
            distributions=trials[record.number].distributions,
            value=_REJECTED if record.result is None else record.result.accuracy,
        )
        for record in last.values()
    ]
