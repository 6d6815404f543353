"""The study of a search: its steps lie in a database, each once, and any number of processes take them.

A step, a trial trained to a rung, is one trial of Optuna. Its attributes name the trial that it belongs to. Every step
that is done counts for the sampler: accuracy grows with the rungs, so those that went on come before the others. Optuna
has no pruner for several objectives; `halving` decides.

No process waits for another one, and none decides for the others. Two may therefore add the same step at once. Steps
that are the same have the same claim, and Optuna gives out a trial once and numbers them in the order in which they
appear; so the lower number is done and the other one is dropped before its training begins.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, NamedTuple

import optuna
from optuna.trial import TrialState

from . import records as attribute
from .budget import Cost
from .halving import StepResult, TrialStep
from .heartbeat import Heartbeat
from .importance import importance_of_choices
from .proposals import propose
from .records import StepRecord, begun_trials, is_surplus, read_record
from .space import Space
from .steps_to_do import add_lost, add_next
from .storage import Direction, open_study, plain_errors

_log = logging.getLogger(__name__)
_BUDGET = "budget"


class Due(NamedTuple):
    """A step that this process has taken.

    Attributes:
        number: of the step in the study.
        step: the trial, and the epoch to train it to.
        value: of the space.
        cost: what an earlier process noted of the trial with `note_cost`; None for a new trial.
    """

    number: int
    step: TrialStep
    value: dict[str, Any]
    cost: Cost | None = None


class SearchStudy:
    """The steps of a search, for one process; `close` ends its heartbeat.

    Args:
        storage: path of a SQLite file, or `postgresql://USER:PASSWORD@HOST/DATABASE`, as for `open_study`.
        data: the hash that identifies the data set.
        space: what is tried.
        rungs: from `make_rungs`.
        costs: the number of costs in each result, at least 1.
        settings: everything else that makes trials comparable, such as the budget, as plain values.
        name: several searches in one database need several names.
        worker: identifies the process for `reclaim`: the same for a later process in its place, and another one for
            each that runs at the same time.
        heartbeat: seconds between two signs of life of a running step, from 1 on. A step without one for twice as long
            is taken over by another process.
        seed: of the sampler. The values of a new trial follow from it, the number of steps and the results so far.
        may_fit: whether a value may be within the budget, as far as that is known without its network; other values
            are neither drawn nor among the presets.

    Raises:
        StorageError: the database cannot be used, or the study has other data, choices or settings.
    """

    def __init__(
        self,
        storage: str | os.PathLike[str],
        data: str,
        space: Space,
        rungs: Sequence[int],
        *,
        costs: int = 1,
        settings: Mapping[str, Any] | None = None,
        name: str = "search",
        worker: str = "",
        heartbeat: int = 60,
        seed: int = 0,
        may_fit: Callable[[Mapping[str, Any]], bool] = lambda value: True,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.rungs, self.settings = space, tuple(rungs), dict(settings or {})
        self._address, self._worker, self._seed, self._may_fit = storage, worker, seed, may_fit
        self._presets = [value for value in space.presets() if may_fit(value)]
        choices = {key: value for key, value in asdict(space).items() if key != "teacher"}  # a path of this machine
        choices |= {"rungs": self.rungs, "costs": costs} | self.settings
        directions: list[Direction] = ["maximize"]
        directions += ["minimize"] * costs
        self._study = open_study(storage, data, directions, choices=choices, name=name, heartbeat=heartbeat)
        self._storage: Any = self._study._storage
        self._heart = Heartbeat(self._record_heartbeat, heartbeat)
        self._held: dict[int, int] = {}  # number -> key of the steps that this process works on
        self._adopted: set[int] = set()
        self._ended: dict[int, StepRecord] = {}  # by key; steps that have ended do not change

    @property
    def identity(self) -> str:
        """Of the name, the data and the choices: the same for all processes of a search."""
        return self._study.study_name

    def __enter__(self) -> SearchStudy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the heartbeat. Steps that were not finished are taken over by another process after some time."""
        self._heart.close()

    def next_step(self, trials: int | None = None) -> Due | None:
        """Take the next step: one that waits, a preset, a promotion, or a new trial. Lost steps are taken over first.

        Args:
            trials: the number of trials, of all processes together, after which no new one begins; rejected ones do not
                count. None for no end.

        Returns:
            The step; None where nothing is due. While steps run in other processes, more may become due: a promotion,
            or a step whose process dies.

        Raises:
            StorageError: the database cannot be used.
        """
        with plain_errors(self._address):
            while True:
                records = self._take_over()
                is_full = trials is not None and len(begun_trials(records)) >= trials
                waits = any(record.state == "waiting" for record in records)
                if not waits and not add_next(self._study, records, self._presets, self.rungs, is_full):
                    if is_full:
                        return None
                    self._add_new(records)
                due = self._take(trials)
                if due is not None:
                    return due

    def note_cost(self, due: Due, cost: Cost, excess: float | None = None) -> None:
        """Note what the untrained network of a first step costs, and how many times the budget that is.

        Raises:
            StorageError: the database cannot be used.
        """
        with plain_errors(self._address):
            self._note(due, {attribute.COST: cost._asdict(), attribute.EXCESS: excess})

    def finish(self, due: Due, result: StepResult, seconds: float) -> bool:
        """Note the result of a step, and the seconds that it took.

        Returns:
            Whether the result counts; False where another process has taken the step over, since this one gave no sign
            of life for too long.

        Raises:
            StorageError: the database cannot be used.
        """
        values = [result.accuracy, *result.costs]
        figures = values if result.loss is None else [*values, result.loss]
        if not all(map(math.isfinite, figures)):
            return self.fail(due, f"the result {figures} is not finite")
        noted = {attribute.SECONDS: seconds, attribute.LOSS: result.loss}
        return self._end(due, TrialState.COMPLETE, noted, values)

    def reject(self, due: Due, cost: Cost, excess: float) -> bool:
        """Note that a trial was not trained, since it costs `excess` times the budget, more than 1; as `finish`."""
        with plain_errors(self._address):
            try:
                optuna.Trial(self._study, self._held[due.number]).set_constraint(_BUDGET, excess - 1)
            except optuna.exceptions.UpdateFinishedTrialError:
                _log.debug("trial %d has ended", due.step.trial)  # which `_end` says
        noted = {attribute.COST: cost._asdict(), attribute.EXCESS: excess}
        return self._end(due, TrialState.PRUNED, noted)

    def fail(self, due: Due, problem: str) -> bool:
        """Note that a step failed, with the problem in one line. The trial does not go on; as `finish`."""
        return self._end(due, TrialState.FAIL, {attribute.PROBLEM: " ".join(problem.split())})

    def give_back(self, due: Due) -> bool:
        """Let a step wait again that this process will not finish, since it was interrupted; as `finish`."""
        is_ours = self._end(due, TrialState.FAIL, {attribute.GIVEN_BACK: True})
        with plain_errors(self._address):
            add_lost(self._study, self.records())
        return is_ours

    def reclaim(self) -> int:
        """Let the steps wait again that a dead process with the name of this worker had taken; their number.

        Raises:
            StorageError: the database cannot be used.
        """
        with plain_errors(self._address):
            ours = [
                record
                for record in self.records()
                if record.state == "running" and record.worker == self._worker and record.number not in self._held
            ]
            for record in ours:
                self._tell(record.key, TrialState.FAIL)
            add_lost(self._study, self.records())
        return len(ours)

    def records(self) -> list[StepRecord]:
        """All steps, in the order of their numbers.

        Raises:
            StorageError: the database cannot be used.
        """
        with plain_errors(self._address):
            trials = self._study.get_trials(deepcopy=False)
        known = self._ended
        records = [known.get(trial._trial_id) or read_record(trial, self.rungs[0]) for trial in trials]
        self._ended = {record.key: record for record in records if record.state not in ("waiting", "running")}
        return records

    def results(self) -> dict[TrialStep, StepResult]:
        """The results of the steps that are done."""
        return {record.step: record.result for record in self.records() if record.result is not None}

    def counts(self) -> dict[attribute.State, int]:
        """How many steps are in each state."""
        states = [record.state for record in self.records()]
        names: tuple[attribute.State, ...]
        names = ("done", "running", "waiting", "rejected", "failed", "lost", "surplus")
        return {name: states.count(name) for name in names}

    def whole_value(self, record: StepRecord) -> dict[str, Any]:
        """The value of the space of a step, with the choices that have one alternative; {} before it was drawn."""
        try:
            return self.space.complete(record.value)
        except KeyError:
            return {}

    def importance(self) -> dict[str, float]:
        """How much each choice decides about accuracy, as shares of 1, the most important first.

        PED-ANOVA (S. Watanabe et al., arXiv:2304.10255) over the first steps that are done, so that trials are compared
        after the same number of epochs. {} before there are enough of them, and for choices that not all of them have.
        """
        with plain_errors(self._address):
            trials = self._study.get_trials(deepcopy=False)
        firsts = {record.number for record in self.records() if record.result and record.step.epochs == self.rungs[0]}
        return importance_of_choices([trial for trial in trials if trial.number in firsts])

    def _take_over(self) -> list[StepRecord]:
        """Let the steps of dead processes wait again; returns all steps after that."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        records = self.records()
        for record in records:
            # Its process may have been killed between taking the step and its first sign of life. This sign ages.
            if record.state == "running" and record.worker is None and record.key not in self._adopted:
                self._adopted.add(record.key)
                self._record_heartbeat(record.key)
        return self.records() if add_lost(self._study, records) else records

    def _add_new(self, records: Sequence[StepRecord]) -> None:
        """Add a new trial."""
        trials = self._study.get_trials(deepcopy=False)[: len(records)]
        # A new generator for each step: a search that goes on does not draw the first trials again.
        seed = (self._seed * 1_000_003 + len(records)) % 2**32
        self._study.enqueue_trial(propose(self.space, trials, records, seed, self._may_fit))

    def _take(self, trials: int | None) -> Due | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Optuna expects its own heartbeat
            trial = self._study.ask()
        key, number = trial._trial_id, trial.number
        self._heart.hold(key)
        try:
            trial.set_user_attr(attribute.WORKER, self._worker)
            records = self.records()
            mine = records[number]
            if is_surplus(mine, records[:number], trials):
                trial.set_user_attr(attribute.SURPLUS, True)
                self._tell(key, TrialState.FAIL)
                self._heart.release(key)
                return None
            value = self.space.suggest(trial)
            trial.set_user_attr(attribute.TRIAL, mine.step.trial)
            trial.set_user_attr(attribute.EPOCHS, mine.step.epochs)
        except optuna.exceptions.UpdateFinishedTrialError:  # this process stood still, and another one took it over
            self._heart.release(key)
            return None
        except BaseException:
            self._heart.release(key)  # else the step would seem to run for ever
            raise
        self._held[number] = key
        return Due(number, mine.step, value, mine.cost)

    def _end(
        self, due: Due, state: TrialState, noted: Mapping[str, Any], values: Sequence[float] | None = None
    ) -> bool:
        key = self._held[due.number]
        try:
            with plain_errors(self._address):
                is_ours = self._note(due, noted) and self._tell(key, state, values)
        finally:
            self._heart.release(key)
        del self._held[due.number]
        if not is_ours:
            _log.info("trial %d was taken over by another process; this result does not count", due.step.trial)
        return is_ours

    def _note(self, due: Due, noted: Mapping[str, Any]) -> bool:
        """Write attributes of a step; False where it has ended in the meantime."""
        try:
            for name, value in noted.items():
                self._storage.set_trial_user_attr(self._held[due.number], name, value)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False
        return True

    def _tell(self, key: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """End a step; False where it has ended in the meantime."""
        try:
            return bool(self._storage.set_trial_state_values(key, state, values))
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _record_heartbeat(self, key: int) -> None:
        with plain_errors(self._address):
            self._storage.record_heartbeat(key)
