"""The study: presets first, budgets, promotions, steps of dead processes, and other data refused; in both databases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

import optuna
import sqlalchemy

from exporter.errors import StorageError
from exporter.search.budget import Cost
from exporter.search.halving import StepResult, TrialStep
from exporter.search.records import RETRIES
from exporter.search.space import Space
from exporter.search.steps_to_do import add_next
from exporter.search.study import Due, SearchStudy

pytestmark = pytest.mark.fast

SPACE = Space(1797, 4, (8,), ("grey",), quantization_aware=False)
RUNGS = (1, 4)
Open = Callable[..., SearchStudy]


# What differs between the two is in `test_study_processes.py`; `make proof` runs all of it on both.
@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "study.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")


@pytest.fixture
def open_study(address: str, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens the study of this test, as often as the test asks; another `worker` is another process."""
    opened = []

    def opens(worker: str = "", data: str = "same", space: Space = SPACE, **settings: Any) -> SearchStudy:
        settings = {"name": request.function.__name__, "worker": worker} | settings
        opened.append(SearchStudy(address, data, space, RUNGS, **settings))
        return opened[-1]

    yield opens
    for study in opened:
        study.close()


def taken(study: SearchStudy, trials: int | None = None) -> Due:
    due = study.next_step(trials)
    assert due is not None
    return due


def let_time_pass(study: SearchStudy, due: Due | None = None) -> None:
    """Make the last sign of life of a step, or of all steps, an old one."""
    which = "" if due is None else f" WHERE trial_id = {study.records()[due.number].key}"
    with study._storage._backend.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(f"UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00.000000'{which}")
        )


def test_a_search_goes_on_after_a_kill_and_no_step_counts_twice(open_study: Open) -> None:
    study = open_study()
    presets = SPACE.presets()
    first = taken(study)
    assert (first.value, first.step) == (presets[0], TrialStep(0, 1))
    study.note_cost(first, Cost(900, 1.5), 0.5)
    assert study.finish(first, StepResult(0.8, (900.0,)), 3.5)
    killed = taken(study)
    study.close()

    study = open_study()
    assert study.reclaim() == 1
    assert study.reclaim() == 0
    seen = {first.step: first.value}
    for number in range(10):
        due = taken(study)
        assert due.step not in seen, "no step is done twice"
        seen[due.step] = due.value
        if due.step == TrialStep(0, 4):
            assert due.cost == Cost(900, 1.5), "what a trial costs is known to the process that goes on with it"
        study.finish(due, StepResult(0.5 + number / 100, (1000.0 - number,), 0.25), 1.0)
    assert seen[killed.step] == killed.value
    assert set(study.results()) == set(seen)
    losses = [result.loss for result in study.results().values()]
    assert (losses.count(0.25), losses.count(None)) == (10, 1), "a study of before has no losses"
    assert seen[TrialStep(0, 4)] == presets[0]  # a preset goes on in any case, with its own value
    firsts = [value for step, value in seen.items() if step.epochs == 1]
    assert firsts[: len(presets)] == presets
    counts = study.counts()
    assert (counts["done"], counts["lost"], counts["failed"], counts["running"]) == (11, 1, 0, 0)
    record = study.records()[0]
    assert (record.seconds, record.cost, record.excess, record.is_preset) == (3.5, Cost(900, 1.5), 0.5, True)
    assert study.whole_value(record) == presets[0]


def test_the_number_of_trials_is_that_of_all_processes_and_rejected_ones_do_not_count(open_study: Open) -> None:
    one, other = open_study("one"), open_study("other")
    rejected = taken(one, 2)
    assert one.reject(rejected, Cost(5000), 1.5)
    first, second = taken(one, 2), taken(other, 2)
    assert one.next_step(2) is None
    one.finish(first, StepResult(0.5, (1.0,)), 1.0)
    due = taken(other, 2)
    assert due.step == TrialStep(first.step.trial, 4), "a preset goes on when no new trial begins"
    other.fail(due, "out\nof memory")
    other.finish(second, StepResult(0.5, (1.0,)), 1.0)
    other.finish(taken(other, 2), StepResult(0.6, (1.0,)), 1.0)
    assert one.next_step(2) is None
    assert one.next_step(3) is not None
    records = one.records()
    assert [record.state for record in records] == ["rejected", "done", "done", "failed", "done", "running"]
    assert (records[0].cost, records[0].excess, records[3].problem) == (Cost(5000), 1.5, "out of memory")


def test_a_stale_step_is_taken_over_and_its_old_process_is_told(
    open_study: Open, caplog: pytest.LogCaptureFixture
) -> None:
    dead, alive = open_study("dead"), open_study("alive")
    step, kept = taken(dead), taken(alive)
    let_time_pass(alive, step)
    again = taken(alive)
    assert (again.step, again.value) == (step.step, step.value)
    assert alive.records()[kept.number].state == "running", "this one gives signs of life"
    with caplog.at_level(logging.INFO):
        assert not dead.finish(step, StepResult(0.9, (1.0,)), 1.0)
    assert "taken over by another process" in caplog.text
    assert alive.finish(again, StepResult(0.8, (1.0,)), 1.0)
    assert alive.results() == {step.step: StepResult(0.8, (1.0,))}


def test_two_that_look_for_a_waiting_step_at_once_do_not_both_get_it(
    open_study: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_study("one"), open_study("other")
    one.give_back(taken(one))
    key = next(record.key for record in one.records() if record.state == "waiting")
    backend, futures = one._storage._backend, list[Future[bool]]()
    check = backend.check_trial_is_updatable

    def look_again(*arguments: Any) -> None:  # between reading and writing
        check(*arguments)
        futures.append(pool.submit(other._tell, key, optuna.trial.TrialState.RUNNING))
        wait(futures, timeout=0.3)

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(backend, "check_trial_is_updatable", look_again)
        assert one._tell(key, optuna.trial.TrialState.RUNNING)
        assert not futures[0].result()


def test_a_step_that_nobody_gave_a_sign_of_life_becomes_stale_too(open_study: Open) -> None:
    killed, other = open_study("killed"), open_study("other")
    with pytest.warns(UserWarning, match="Heartbeat"):
        killed._study.ask()  # and here the process died
    assert taken(other).step.trial == 1
    let_time_pass(other)
    other._heart.hold(other._held[1])
    assert taken(other).step.trial == 0


def test_a_step_that_is_taken_over_before_its_process_has_drawn_its_values_is_left(
    open_study: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = open_study("slow"), open_study("other")
    held = slow._heart.hold

    def stand_still(key: int) -> None:
        held(key)
        stood.append(key)
        if len(stood) == 1:
            other._storage.set_trial_state_values(key, optuna.trial.TrialState.FAIL)

    stood: list[int] = []
    monkeypatch.setattr(slow._heart, "hold", stand_still)
    due = slow.next_step(1)
    assert due is not None
    assert (due.number, due.step.trial, len(stood)) == (1, 0, 2), "it waits again"


def test_a_trial_that_kills_each_process_fails_in_the_end(open_study: Open) -> None:
    study = open_study()
    for attempt in range(RETRIES + 1):
        due = taken(study)
        assert due.step == TrialStep(0, 1), attempt
        let_time_pass(study)
    assert taken(study).step.trial == RETRIES + 1
    assert study.records()[RETRIES].problem == f"its process was lost {RETRIES + 1} times"


def test_a_step_given_back_waits_again_without_counting_as_lost(open_study: Open) -> None:
    study = open_study()
    for _ in range(RETRIES + 2):
        due = taken(study)
        assert due.step == TrialStep(0, 1)
        study.give_back(due)


def test_a_lost_step_waits_again_although_a_process_died_before_adding_it(open_study: Open) -> None:
    study = open_study()
    due = taken(study)
    study._storage.set_trial_state_values(study._held[due.number], optuna.trial.TrialState.FAIL)
    assert taken(open_study("other")).step == due.step
    assert open_study("third").counts()["lost"] == 1


def test_of_two_promotions_that_are_the_same_the_second_is_dropped(open_study: Open) -> None:
    one, other = open_study("one"), open_study("other")
    one.finish(taken(one, 1), StepResult(0.5, (1.0,)), 1.0)
    records = one.records()  # both processes see the same, and both add the promotion
    for study in (one, other):
        assert add_next(study._study, records, [], RUNGS, True)
    assert taken(other, 1).step == TrialStep(0, 4)
    assert one.next_step(1) is None
    assert one.counts() == {"done": 1, "running": 1, "waiting": 0, "rejected": 0, "failed": 0, "lost": 0, "surplus": 1}


def test_a_result_that_is_no_number_fails(open_study: Open) -> None:
    study = open_study()
    study.finish(taken(study), StepResult(float("nan"), (1.0,)), 1.0)
    assert study.records()[0].problem == "the result [nan, 1.0] is not finite"


def test_the_same_seed_and_results_draw_the_same_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Space, "presets", lambda _: [])
    drawn = []
    for name in ("one", "other"):
        with SearchStudy(tmp_path / name, "same", SPACE, RUNGS, seed=3) as study:
            for number in range(3):
                due = taken(study)
                study.reject(due, Cost(number), 1.5)
        drawn.append(due.value)
    assert drawn[0] == drawn[1]


def test_other_data_and_other_choices_are_refused_by_name(open_study: Open) -> None:
    open_study(settings={"max_bytes": 30_000})
    with pytest.raises(StorageError, match=r"has the data set same, not other: .*(`name`|folder)$"):
        open_study(data="other", settings={"max_bytes": 30_000})
    with pytest.raises(StorageError, match=r"has `max_bytes` 30000, not 20000: .*(`name`|folder)$"):
        open_study(settings={"max_bytes": 20_000})
    with pytest.raises(StorageError, match=r"has `seed` 0, not 1: "):
        open_study(
            space=Space(1797, 4, (8,), ("grey",), quantization_aware=False, seed=1), settings={"max_bytes": 30_000}
        )


def test_where_no_new_trial_comes_the_best_goes_on_though_there_are_few(open_study: Open) -> None:
    study = open_study(may_fit=lambda value: False)  # no presets, which go on in any case
    for accuracy in (0.5, 0.75):
        study.finish(taken(study, 2), StepResult(accuracy, (1.0,)), 1.0)
    last = taken(study, 2)
    assert last.step.epochs == RUNGS[-1]
    study.finish(last, StepResult(0.8, (1.0,)), 1.0)
    assert study.results()[last.step].accuracy == 0.8
    assert study.results()[TrialStep(last.step.trial, RUNGS[0])].accuracy == 0.75
    assert study.next_step(2) is None
