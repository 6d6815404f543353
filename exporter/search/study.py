"""The study of a search: its steps lie in a database, each once, and a search that was killed goes on with them.

A step, a trial trained to a rung, is one trial of Optuna. Its attributes name the trial that it belongs to. Every step
that is done counts for the sampler: accuracy grows with the rungs, so those that went on come before the others. Optuna
has no pruner for several objectives; `halving` decides.

Optuna is imported by this module and by `storage` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from ..errors import ExportError
from .halving import StepResult, TrialStep, next_promotion
from .space import Space

_NAME = "search"
#: Attributes of the study, and of a trial in it.
_IDENTITY, _OF, _EPOCHS, _PRESET, _REPEATS, _PROBLEM = "identity", "of", "epochs", "preset", "repeats", "problem"
_BUDGET = "budget"


class Due(NamedTuple):
    """A step that this process has taken.

    Attributes:
        number: of the step in the study.
        step: the trial, and the epoch to train it to.
        value: of the space.
    """

    number: int
    step: TrialStep
    value: dict[str, Any]


class SearchStudy:
    """The steps of a search.

    Args:
        storage: an address such as `sqlite:///search/study.db`, or a storage of Optuna.
        space: what is tried.
        identity: a digest of the data set and of everything else that makes trials comparable.
        rungs: from `make_rungs`.
        costs: the number of costs in each result, at least 1.
        seed: of the sampler.

    Raises:
        ExportError: the study is one with other data or choices.
    """

    def __init__(
        self, storage: Any, space: Space, identity: str, rungs: Sequence[int], costs: int = 1, seed: int = 0
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._rungs, self._seed = space, rungs, seed
        self._study = optuna.create_study(
            storage=storage,
            study_name=_NAME,
            directions=[StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * costs],
            load_if_exists=True,
        )
        found = self._study.user_attrs.get(_IDENTITY)
        if found is None:  # the presets first: one that is killed in between adds no preset twice
            for value in space.presets():
                self._study.enqueue_trial(value, user_attrs={_PRESET: True}, skip_if_exists=True)
            self._study.set_user_attr(_IDENTITY, identity)
        elif found != identity:
            raise ExportError(
                "the study is a search with other images, choices or limits; give those of the first one, or another "
                "`storage`"
            )

    def next_step(self) -> Due:
        """Take the next step: one that waits, a promotion, or a new trial."""
        trials = self._study.get_trials(deepcopy=False)
        if not any(trial.state == TrialState.WAITING for trial in trials):
            self._enqueue_promotion()
        # A new generator for each step: a search that goes on does not draw the first trials again.
        self._study.sampler = optuna.samplers.TPESampler(seed=self._seed * 1_000_003 + len(trials))
        trial = self._study.ask()
        value = self._space.suggest(trial)
        attributes = trial.user_attrs
        step = TrialStep(attributes.get(_OF, trial.number), attributes.get(_EPOCHS, self._rungs[0]))
        trial.set_user_attr(_OF, step.trial)
        trial.set_user_attr(_EPOCHS, step.epochs)
        return Due(trial.number, step, value)

    def finish(self, due: Due, result: StepResult) -> None:
        """Note the result of a step."""
        self._study.tell(due.number, [result.accuracy, *result.costs])

    def reject(self, due: Due, excess: float) -> None:
        """Note that a trial was not trained, since it costs `excess` times the budget, more than 1."""
        self._trial(due.number).set_constraint(_BUDGET, excess - 1)
        self._study.tell(due.number, state=TrialState.PRUNED)

    def fail(self, due: Due, problem: str) -> None:
        """Note that a step failed, with the problem in one line. The trial does not go on."""
        self._trial(due.number).set_user_attr(_PROBLEM, problem)
        self._study.tell(due.number, state=TrialState.FAIL)

    def reclaim(self) -> int:
        """Let the steps of a killed process wait again, where no other process works on the study; their number."""
        trials = self._study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(_REPEATS) for trial in trials}
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        for trial in running:
            if trial.number not in repeated:  # before it counts as failed: a kill in between loses nothing
                attributes = {_OF: trial.number, _EPOCHS: self._rungs[0], **trial.user_attrs, _REPEATS: trial.number}
                fixed = trial.system_attrs.get("fixed_params", {}) | trial.params
                self._study.enqueue_trial(fixed, user_attrs=attributes)
            self._study.tell(trial.number, state=TrialState.FAIL)
        return len(running)

    def results(self) -> dict[TrialStep, StepResult]:
        """The steps that are done."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return {_step(trial): StepResult(trial.values[0], tuple(trial.values[1:])) for trial in done}

    def counts(self) -> dict[str, int]:
        """How many steps are done, running, waiting, rejected and failed."""
        names = {"done": "COMPLETE", "running": "RUNNING", "waiting": "WAITING", "rejected": "PRUNED", "failed": "FAIL"}
        states = [trial.state.name for trial in self._study.get_trials(deepcopy=False)]
        return {name: states.count(state) for name, state in names.items()}

    def _enqueue_promotion(self) -> None:
        trials = self._study.get_trials(deepcopy=False)
        open_states = (TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL)
        claimed = {_step(trial) for trial in trials if trial.state in open_states and _OF in trial.user_attrs}
        kept = {_step(t).trial for t in trials if t.user_attrs.get(_PRESET) and _OF in t.user_attrs}
        step = next_promotion(self.results(), self._rungs, claimed, kept)
        if step is not None:
            attributes = {_OF: step.trial, _EPOCHS: step.epochs}
            # The first step may have been killed before its values were drawn; one that is done has all of them.
            done = next(t for t in trials if t.state == TrialState.COMPLETE and _step(t).trial == step.trial)
            self._study.enqueue_trial(dict(done.params), user_attrs=attributes)

    def _trial(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)


def _step(trial: optuna.trial.FrozenTrial) -> TrialStep:
    return TrialStep(trial.user_attrs[_OF], trial.user_attrs[_EPOCHS])
