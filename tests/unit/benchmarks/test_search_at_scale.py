"""The simulation of a search by many machines."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.search_at_scale import Database, read_times, simulate, table, worker_limit

pytestmark = pytest.mark.fast

PAGE = Path(__file__).parents[3] / "docs/explanation/search-at-scale.md"


def test_the_numbers_of_the_page_are_those_of_the_program() -> None:
    page = PAGE.read_text("utf-8")
    assert table([simulate(n) for n in (1, 10, 100, 1000)]) in page
    assert f"up to {worker_limit()} workers" in page


def test_without_losses_one_worker_takes_the_sum_of_its_trials() -> None:
    result = simulate(1, 20, [10.0], lost_every=math.inf)
    assert result.hours * 3600 == pytest.approx(20 * (10 + Database().latency(0)))
    assert (result.lost, result.repeated) == (0, 0)


def test_the_seed_decides() -> None:
    assert simulate(10, 500, seed=1) == simulate(10, 500, seed=1) != simulate(10, 500, seed=2)


def test_what_a_lost_worker_had_begun_is_repeated() -> None:
    kept = simulate(10, 500, [600.0], lost_every=math.inf)
    lossy = simulate(10, 500, [600.0], lost_every=600)
    assert lossy.lost > 10
    assert lossy.repeated > 0.01
    assert lossy.hours > kept.hours


def test_a_slow_database_is_the_limit() -> None:
    slow = Database(service=0.1)
    assert worker_limit(database=slow) < worker_limit()
    assert simulate(100, 500, database=slow).database > 0.9


@pytest.mark.parametrize("content", ["[]", "{}", "[0]", "[1, true]", "[NaN]", "no JSON"])
def test_times_that_are_none_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "times.json"
    path.write_text(content, "utf-8")
    with pytest.raises(SystemExit, match=r"times\.json"):
        read_times(path)
