"""Holds the search against random trials: `python -m benchmarks.search_against_random [--seeds 0,1,2]`.

For each seed, a search trains so many networks of digits within a budget of bytes. Then random networks of the same
space and budget, each trained for all its epochs, get the same time. What both have chosen by validation is scored on
the test split, which neither has looked at. The time that the search spends beside training, conversion and scoring is
counted too. The exit status is 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from exporter.search.budget import Budget, BytesAlone
from exporter.search.data import SearchData
from exporter.search.halving import StepResult, TrialStep, best_trial
from exporter.search.plan import SearchPlan
from exporter.search.session import TRIALS_FOLDER, SearchHost, search_networks
from exporter.search.trial_runner import INT8_FILE, TrialRunner
from runtime import Classifier
from trainer.data import load_dataset
from trainer.data.splits import make_splits

#: The share of a trial's time that may go into neither training nor conversion nor scoring.
OVERHEAD = 0.05
_DATA = {"name": "digits"}


class Chosen(NamedTuple):
    """What a way has chosen by validation.

    Attributes:
        validation, test: accuracy of the int8 file.
        file_bytes: its size.
        trials: networks that were trained to a rung at least.
        seconds: that this took.
    """

    validation: float
    test: float
    file_bytes: int
    trials: int
    seconds: float


class RandomDraw:
    """Draws values of a space at random."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number, uniform or with a uniform logarithm."""
        del name
        return round(self._between(low, high)) if log else self._random.randint(low, high)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number, uniform or with a uniform logarithm."""
        del name
        return self._between(low, high) if log else self._random.uniform(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        del name
        return self._random.choice(choices)

    def _between(self, low: float, high: float) -> float:
        return math.exp(self._random.uniform(math.log(low), math.log(high)))


def search(plan: SearchPlan, host: SearchHost) -> tuple[Chosen, float]:
    """Search, and give what it chose and its overhead as a share of its time."""
    started = time.monotonic()
    summary, seconds = search_networks(plan, host)
    total = time.monotonic() - started
    assert summary.recommended is not None
    best = summary.trial(summary.recommended)
    assert best.accuracy is not None
    assert best.cost is not None
    trained = sum(bool(trial.steps) for trial in summary.trials)
    test = score_test(host.folder / TRIALS_FOLDER / str(best.number) / INT8_FILE, plan.seed)
    return Chosen(best.accuracy, test, best.cost.file_bytes, trained, total), seconds.other / sum(seconds)


def draw_at_random(plan: SearchPlan, folder: Path, trials: int, seconds: float, threads: int | None) -> Chosen:
    """Train random networks that fit, each for all epochs, until there are so many or the time is over."""
    started = time.monotonic()
    data = SearchData.load(plan.data, plan.seed)
    space, draw = plan.make_space(data), RandomDraw(plan.seed)
    best, done, results = Chosen(-1.0, 0.0, 0, 0, 0.0), 0, dict[int, StepResult]()
    most = plan.budget.max_bytes
    with TrialRunner(data, space, folder, BytesAlone(), threads=threads, max_bytes=most) as runner:
        runner.check()
        while done < trials and (left := seconds - (time.monotonic() - started)) > 0:
            value = space.suggest(draw)
            if not plan.budget.fits(runner.cost(value)):
                continue
            outcome = runner.train(TrialStep(done, space.epochs), value, left)
            if outcome is None:
                break
            if plan.budget.fits(outcome.cost):
                results[done] = outcome.result
            if best_trial(results) == done:
                test = score_test(runner.folder_of(done) / INT8_FILE, plan.seed)
                best = Chosen(outcome.accuracy, test, outcome.cost.file_bytes, 0, 0.0)
            done += 1
    return best._replace(trials=done, seconds=time.monotonic() - started)


def score_test(model: Path, seed: int) -> float:
    """Accuracy of a file on the test split of digits."""
    dataset, classifier = load_dataset("digits"), Classifier(model)
    chosen = make_splits(dataset.targets, dataset.labels, dataset.given, seed).test
    right = [classifier.classify(dataset.source.sample(index))[0].index == dataset.targets[index] for index in chosen]
    return float(np.mean(right))


def main() -> int:
    """Measure, print a line of JSON for each seed, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--max-bytes", type=int, default=30_000)
    given = parser.parse_args()
    passed = True
    for seed in map(int, given.seeds.split(",")):
        plan = SearchPlan(_DATA, Budget(given.max_bytes), epochs=given.epochs, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            host = SearchHost(Path(folder), trials=given.trials, minutes=given.minutes, threads=given.threads)
            found, overhead = search(plan, host)
        with tempfile.TemporaryDirectory() as folder:
            drawn = draw_at_random(plan, Path(folder), given.trials, found.seconds, given.threads)
        good = found.validation >= drawn.validation and overhead < OVERHEAD
        passed = passed and good
        ways = {"search": found._asdict(), "random": drawn._asdict()}
        print(json.dumps({"seed": seed, **ways, "overhead": round(overhead, 4), "passed": good}), flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
