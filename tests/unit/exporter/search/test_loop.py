"""The loop of a search: what it rejects, fails, goes on with and gives back, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from exporter.errors import ExportError
from exporter.search import loop as search_loop
from exporter.search.budget import Budget, Cost
from exporter.search.halving import TrialStep, best_trial
from exporter.search.loop import SearchLoop, SearchState
from exporter.search.space import Space
from exporter.search.study import SearchStudy
from exporter.search.trial_runner import TrialOutcome, TrialSeconds

SPACE = Space(1797, 9, (8,), ("grey",), quantization_aware=False)
RUNGS = (1, 3, 9)
PRESETS = len(SPACE.presets())


@dataclass
class FakeRunner:
    """Bytes follow from the widths, and accuracy from the epochs and the rate, without any training."""

    on_train: Callable[[TrialStep, float | None], object] = lambda step, seconds: None
    trained: list[TrialStep] = field(default_factory=list)

    def cost(self, value: Mapping[str, Any]) -> Cost:
        return Cost(sum(value[f"width_{place}"] for place in (1, 2, 3)))

    def train(self, step: TrialStep, value: Mapping[str, Any], seconds: float | None = None) -> TrialOutcome | None:
        if self.on_train(step, seconds) == "paused":
            return None
        self.trained.append(step)
        return TrialOutcome(0.5 + step.epochs / 100 + value["learning_rate"], 0.7, self.cost(value), TrialSeconds())


def open_study(folder: Path) -> SearchStudy:
    return SearchStudy(folder / "study.db", "digest", SPACE, RUNGS, worker="here")


def test_it_trains_so_many_networks_within_the_budget_and_goes_on_with_the_best(tmp_path: Path) -> None:
    runner, states, budget = FakeRunner(), list[SearchState](), Budget(max_bytes=100)
    with open_study(tmp_path) as study:
        SearchLoop(study, runner, budget, trials=9, report=states.append).run()
        results = study.results()
    assert len({step.trial for step in results}) == 9
    assert all(result.costs[0] <= 100 for result in results.values())
    exceeding = sum(runner.cost(value).file_bytes > 100 for value in SPACE.presets())
    assert states[-1].rejected >= exceeding > 0
    fitting = PRESETS - exceeding
    assert sum(step.epochs == 9 for step in results) >= fitting  # presets go on to the end
    assert sorted(runner.trained) == sorted(results)
    best = states[-1].best
    assert best is not None
    last = {step.trial: result for step, result in sorted(results.items())}
    assert best.trial == best_trial(last)
    text = states[-1].describe()
    assert text.startswith("9 of 9 trained, ")
    assert f"best {best.accuracy:.4f} in " in text
    with open_study(tmp_path) as study:  # the same call has nothing more to do
        SearchLoop(study, runner, budget, trials=9).run()
        assert study.results() == results


def test_a_budget_that_nothing_fits_names_the_smallest_network(tmp_path: Path) -> None:
    with open_study(tmp_path) as study, pytest.raises(ExportError, match=r"budget of 11 bytes: .* costs 12 bytes; "):
        SearchLoop(study, FakeRunner(), Budget(max_bytes=11), trials=3).run()


def test_the_draws_are_bounded_where_hardly_anything_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_loop, "MOST_REJECTIONS", PRESETS)
    with open_study(tmp_path) as study, pytest.raises(ExportError, match=r"networks in a row exceed .* the nearest"):
        SearchLoop(study, FakeRunner(), Budget(max_bytes=12), trials=3).run()


def test_a_failed_trial_is_counted_and_the_search_goes_on_until_too_many_fail(tmp_path: Path) -> None:
    failed = set[int]()

    def fail_once(step: TrialStep, _seconds: float | None) -> None:
        if step.trial and failed <= {step.trial}:
            failed.add(step.trial)
            raise ExportError("its process died of SIGKILL")

    with open_study(tmp_path) as study:
        loop = SearchLoop(study, FakeRunner(fail_once), Budget(), trials=3)
        loop.run()
        assert (loop.state().trained, loop.state().failed) == (2, 1)

        def fail(_step: TrialStep, _seconds: float | None) -> None:
            raise ExportError("no memory")

        with pytest.raises(ExportError, match="5 trials in a row failed, the last one so: no memory"):
            SearchLoop(study, FakeRunner(fail), Budget(), trials=20).run()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_ends_the_search_gives_the_step_back(tmp_path: Path, error: type[BaseException]) -> None:
    interrupted = list[TrialStep]()

    def interrupt(step: TrialStep, _seconds: float | None) -> None:
        if step.trial:
            interrupted.append(step)
            raise error

    with open_study(tmp_path) as study:
        with pytest.raises(error):
            SearchLoop(study, FakeRunner(interrupt), Budget(), trials=3).run()
        assert study.counts()["running"] == 0
        runner = FakeRunner()
        SearchLoop(study, runner, Budget(), trials=3).run()
        assert runner.trained[0] == interrupted[0]
        assert len(runner.trained) == len(set(runner.trained))
        assert len({step.trial for step in study.results()}) == 3


def test_when_the_time_is_over_the_step_waits_for_the_next_call(tmp_path: Path) -> None:
    times = list[float | None]()

    def pause(step: TrialStep, seconds: float | None) -> object:
        times.append(seconds)
        search.end_now()
        return "paused"

    with open_study(tmp_path) as study:
        search = SearchLoop(study, FakeRunner(pause), Budget(), minutes=1)
        search.run()
        assert times[0] is not None
        assert 50 < times[0] <= 60
        assert len(times) == 1
        assert (study.counts()["running"], study.counts()["waiting"]) == (0, 1)
