"""The loop of a search: takes steps, rejects what costs too much before training, trains, and notes what came out.

It ends when so many networks have been trained, when the time is over, or when hardly anything fits the budget. What a
step has trained stays in its checkpoint, whatever ends the loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from runtime import PocketlensError
from runtime.progress import duration

from ..errors import ExportError, StorageError
from .budget import Budget, Cost
from .halving import TrialStep, best_trial
from .records import StepRecord, begun_trials, last_results
from .space import Space
from .study import Due, SearchStudy
from .trial_runner import TrialOutcome, TrialSeconds

_log = logging.getLogger(__name__)

#: Networks in a row that exceed the budget, and trials in a row that fail, before the search ends.
MOST_REJECTIONS, MOST_FAILURES = 300, 5
#: Seconds between two looks at a study whose steps all run in other processes.
_SECONDS_BETWEEN_LOOKS = 5.0


class RunsTrials(Protocol):
    """What the loop needs of a `TrialRunner`."""

    def cost(self, value: Mapping[str, Any]) -> Cost:
        """What the network of a value costs."""

    def train(self, step: TrialStep, value: Mapping[str, Any], seconds: float | None = None) -> TrialOutcome | None:
        """Train a trial to its rung; None if the time was over before."""


class BestTrial(NamedTuple):
    """The best trial so far, as `halving.best_trial` chooses it."""

    trial: int
    accuracy: float
    costs: tuple[float, ...]


class SearchState(NamedTuple):
    """How far a search is, all its processes together.

    Attributes:
        trained: trials that have been trained to a rung, or further.
        wanted: the number after which no new trial begins; None for no end.
        running: steps that run now.
        rejected: trials that exceeded the budget.
        failed: trials that failed.
        stopped: trials that rest at a rung before the last, and may still go on.
        best: the best trial; None before the first one is done.
        seconds_left: until the end, as far as it can be known; None before that.
    """

    trained: int
    wanted: int | None
    running: int
    rejected: int
    failed: int
    stopped: int
    best: BestTrial | None
    seconds_left: float | None

    def describe(self) -> str:
        """In one line."""
        of = "" if self.wanted is None else f" of {self.wanted}"
        counts = {"running": self.running, "over the budget": self.rejected, "failed": self.failed}
        counts["stopped at a rung"] = self.stopped
        parts = [f"{self.trained}{of} trained", *(f"{count} {name}" for name, count in counts.items() if count)]
        if self.best is not None:
            parts.append(f"best {self.best.accuracy:.4f} in {self.best.costs[0]:,.0f} bytes (trial {self.best.trial})")
        if self.seconds_left is not None:
            parts.append(f"about {duration(self.seconds_left)} left")
        return ", ".join(parts)


class LoopSeconds(NamedTuple):
    """Where the time of a loop went: `TrialSeconds`, and `other` for the study, the sampler and files."""

    training: float
    conversion: float
    scoring: float
    other: float


class SearchLoop:
    """Works on a study until the search ends.

    Args:
        study: gives the steps.
        runner: trains them.
        budget: what a network may cost.
        trials: networks to train, of all processes together; None for no end.
        minutes: the time of this call; None for any.
        report: called with the state after each step.
        wait: called with seconds, where every step runs in another process.
    """

    def __init__(
        self,
        study: SearchStudy,
        runner: RunsTrials,
        budget: Budget,
        *,
        trials: int | None = None,
        minutes: float | None = None,
        report: Callable[[SearchState], object] = lambda state: None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._study, self._runner, self._budget = study, runner, budget
        self._trials, self._report, self._wait = trials, report, wait
        self._began = time.monotonic()
        self._end = None if minutes is None else self._began + 60 * minutes
        self._begun_before = 0
        self._rejections: list[Cost] = []  # in a row
        self._failures, self._problem = 0, ""  # in a row
        self._used = [0.0] * len(TrialSeconds._fields)

    def run(self) -> LoopSeconds:
        """Search; returns where the time went.

        Raises:
            ExportError: nothing fits the budget, and what the smallest network costs; or one trial after the other
                fails.
            StorageError: the database cannot be used.
            OSError: the folder of the search cannot be written.
            KeyboardInterrupt: the step at hand waits again.
        """
        records = self._study.records()
        self._begun_before = len(begun_trials(records))
        if not any(record.result for record in records):
            check_smallest(self._study.space, self._runner, self._budget)
        while self._seconds_left() != 0:
            due = self._study.next_step(self._trials)
            if due is not None:
                self._work_on(due)
                self._report(self.state())
                if self._is_hopeless():
                    break
            elif any(record.state == "running" for record in self._study.records()):
                self._wait(_SECONDS_BETWEEN_LOOKS)
            else:
                break
        total = time.monotonic() - self._began
        training, conversion, scoring = self._used
        return LoopSeconds(training, conversion, scoring, max(0.0, total - sum(self._used)))

    def end_now(self) -> None:
        """End the loop after the step at hand."""
        self._end = time.monotonic()

    def state(self) -> SearchState:
        """How far the search is."""
        return state_of(self._study.records(), self._study.rungs, self._trials, self._estimate)

    def _work_on(self, due: Due) -> None:
        try:
            self._try(due)
        except BaseException:
            with suppress(StorageError):
                self._study.give_back(due)
            raise

    def _try(self, due: Due) -> None:
        try:
            if due.cost is None and not self._note_cost(due):
                return
            started = time.perf_counter()
            outcome = self._runner.train(due.step, due.value, self._seconds_left())
        except StorageError:
            raise
        except PocketlensError as error:
            self._fail(due, str(error))
            return
        if outcome is None:
            self._study.give_back(due)
            return
        self._add(outcome.seconds)
        if not self._budget.fits(outcome.cost):  # by a few bytes: the untrained file had other constants
            self._study.reject(due, outcome.cost, self._budget.excess(outcome.cost))
            return
        self._failures = 0
        self._study.finish(due, outcome.result, time.perf_counter() - started)

    def _note_cost(self, due: Due) -> bool:
        """Note what a new trial costs; whether that is within the budget."""
        cost = self._runner.cost(due.value)
        excess = self._budget.excess(cost)
        if excess > 1:
            self._rejections.append(cost)
            self._study.reject(due, cost, excess)
            return False
        self._rejections.clear()
        self._study.note_cost(due, cost, excess)
        return True

    def _fail(self, due: Due, problem: str) -> None:
        self._failures += 1
        _log.info("trial %d failed: %s", due.step.trial, problem)
        self._problem = problem
        self._study.fail(due, problem)

    def _is_hopeless(self) -> bool:
        """Whether so many networks in a row were rejected that a longer search is of no use.

        Raises:
            ExportError: no trial has been trained at all; or so many trials in a row failed.
        """
        if self._failures >= MOST_FAILURES:
            raise ExportError(f"{MOST_FAILURES} trials in a row failed, the last one so: {self._problem}")
        if len(self._rejections) < MOST_REJECTIONS:
            return False
        nearest = self._budget.nearest(self._rejections)
        assert nearest is not None
        message = (
            f"{MOST_REJECTIONS} networks in a row exceed the budget of {self._budget.describe()}; the nearest of them "
            f"costs {nearest.describe()}"
        )
        if not any(record.result for record in self._study.records()):
            raise ExportError(f"{message}; raise the limits, or give smaller `sides`")
        _log.info("%s: the search ends", message)
        return True

    def _seconds_left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def _estimate(self, begun: int) -> float | None:
        """Seconds until the end: by the clock, or by the time of each trial so far."""
        left, new = self._seconds_left(), begun - self._begun_before
        if self._trials is not None and new > 0:
            by_count = (time.monotonic() - self._began) / new * max(0, self._trials - begun)
            left = by_count if left is None else min(left, by_count)
        return left

    def _add(self, seconds: TrialSeconds) -> None:
        self._used = [used + new for used, new in zip(self._used, seconds, strict=True)]


def check_smallest(space: Space, runner: RunsTrials, budget: Budget) -> None:
    """Refuse a budget that not even the smallest network of a space fits.

    Raises:
        ExportError: it names what the smallest network costs.
    """
    if budget == Budget():
        return
    costs = [runner.cost(value) for value in space.smallest()]
    nearest = budget.nearest(costs)
    if nearest is not None and not budget.fits(nearest):
        raise ExportError(
            f"budget of {budget.describe()}: no network of this search fits; the smallest one costs "
            f"{nearest.describe()}; raise the limits, or give smaller `sides`"
        )


def state_of(
    records: Sequence[StepRecord],
    rungs: Sequence[int],
    wanted: int | None,
    estimate: Callable[[int], float | None] = lambda begun: None,
) -> SearchState:
    """How far a search is.

    Args:
        records: the steps of its study.
        rungs: from `make_rungs`.
        wanted: the number of trials; None for no end.
        estimate: gives the seconds until the end, from the number of trials that have begun.
    """
    done = [record for record in records if record.result is not None]
    trained = {record.step.trial for record in done}
    last = {record.step.trial for record in done if record.step.epochs == rungs[-1]}
    open_trials = {record.step.trial for record in records if record.state in ("running", "waiting", "failed")}
    results = last_results(done)
    best = best_trial(results)
    return SearchState(
        trained=len(trained),
        wanted=wanted,
        running=sum(record.state == "running" for record in records),
        rejected=sum(record.state == "rejected" for record in records),
        failed=len({record.step.trial for record in records if record.state == "failed"}),
        stopped=len(trained - last - open_trials),
        best=None if best is None else BestTrial(best, results[best].accuracy, results[best].costs),
        seconds_left=estimate(len(begun_trials(records))),
    )
