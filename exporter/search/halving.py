"""Successive halving: which trials are trained on, and to which epoch.

A trial is trained to the first rung. Of those that have reached a rung the best share goes on to the next one, and this
is decided again whenever a result comes, so that no worker waits for another (L. Li et al., A System for Massively
Parallel Hyperparameter Tuning, arXiv:1810.05934, algorithm 2). All trials follow one schedule of the learning rate,
that of the last rung: at a rung each has had the same share of it.

The budget has decided what a network may cost, so two of three that go on are the most accurate ones. On a small
validation split many networks have the same accuracy; of these the one with the lower loss is better. Every third is
one that no other trial of the rung surpasses in everything (non-dominated sorting, K. Deb et al.,
doi:10.1109/4235.996017): by accuracy alone all small networks would stop.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

#: Of the trials at a rung one in so many goes on, to so many times the epochs.
FACTOR = 3


class StepResult(NamedTuple):
    """What a trial reached at a rung.

    Attributes:
        accuracy: of the int8 file on validation; higher is better.
        costs: bytes, and predicted latency where there is a profile; lower is better.
        loss: cross-entropy of the int8 file on validation, which decides between equal accuracies; None in the study of
            a version that did not note it.
    """

    accuracy: float
    costs: tuple[float, ...]
    loss: float | None = None

    @property
    def rank_key(self) -> tuple[float, float]:
        """Sorts results, the best first: by accuracy, and where that is equal by the loss."""
        return -self.accuracy, math.inf if self.loss is None else self.loss


class TrialStep(NamedTuple):
    """A trial that is due to be trained to a rung.

    Attributes:
        trial: its number.
        epochs: of the rung.
    """

    trial: int
    epochs: int


def make_rungs(epochs: int, factor: int = FACTOR, least: int = 1) -> tuple[int, ...]:
    """The epochs after which trials are compared, ascending; the last is `epochs`.

    Args:
        epochs: of a whole training, at least 1.
        factor: between a rung and the next, at least 2.
        least: epochs of the first rung, at least.
    """
    rungs = [epochs]
    while rungs[0] // factor >= max(1, least):
        rungs.insert(0, rungs[0] // factor)
    return tuple(rungs)


def next_promotion(
    results: Mapping[TrialStep, StepResult],
    rungs: Sequence[int],
    claimed: Collection[TrialStep] = (),
    kept: Collection[int] = (),
    factor: int = FACTOR,
    least: int = 0,
) -> TrialStep | None:
    """The next step of a trial that has earned it, the highest rung first; None where a new trial is due.

    Args:
        results: of the steps that are done.
        rungs: from `make_rungs`.
        claimed: steps that run or wait already.
        kept: numbers of trials that go on in any case, such as the presets.
        factor: one in so many goes on.
        least: so many of a rung go on at least; 1 at the end of a search, where no other trial comes any more.
    """
    for rung, following in reversed([*pairwise(rungs)]):
        here = {step.trial: result for step, result in results.items() if step.epochs == rung}
        order = rank_trials(here)
        earned = [*order[: max(least, len(order) // factor)], *(number for number in order if number in kept)]
        for number in earned:
            step = TrialStep(number, following)
            if step not in results and step not in claimed:
                return step
    return None


def rank_trials(results: Mapping[int, StepResult]) -> list[int]:
    """Numbers of trials, best first. Of each three, two are the most accurate ones, and one is the next of the fronts.

    The fronts come one after the other, each by accuracy and loss: the first has the trials that no other surpasses.
    Trials with equal results keep the order of their numbers.
    """
    by_front: list[int] = []
    remaining = dict(sorted(results.items()))
    while remaining:
        front = pareto_front(remaining)
        by_front += sorted(front, key=lambda number: remaining[number].rank_key)
        remaining = {number: result for number, result in remaining.items() if number not in front}
    by_accuracy = sorted(by_front, key=lambda number: results[number].rank_key)
    order: dict[int, None] = {}
    while len(order) < len(by_front):
        source = by_front if len(order) % 3 == 2 else by_accuracy
        order[next(number for number in source if number not in order)] = None
    return [*order]


def pareto_front(results: Mapping[int, StepResult]) -> list[int]:
    """Numbers of the trials that no other equals in every objective and surpasses in one.

    Accuracy and loss together are one objective.
    """
    return [
        number for number, result in results.items() if not any(_dominates(other, result) for other in results.values())
    ]


def best_trial(results: Mapping[int, StepResult]) -> int | None:
    """Number of the most accurate trial; of equal ones that with the lower loss, and then with the lower costs."""
    return min(results, key=lambda number: (results[number].rank_key, results[number].costs), default=None)


def _dominates(one: StepResult, other: StepResult) -> bool:
    is_as_good = one.rank_key <= other.rank_key and all(a <= b for a, b in zip(one.costs, other.costs, strict=True))
    return is_as_good and (one.rank_key, one.costs) != (other.rank_key, other.costs)
