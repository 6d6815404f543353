"""Many processes at one study, and killed ones: no trial is lost but the running one, and none counts twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from exporter.errors import StorageError
from exporter.search.halving import StepResult, next_promotion
from tests.support.search_workers import RUNGS, open_search

pytestmark = pytest.mark.fast


def run_search(address: str, folder: Path, trials: int, workers: int, kills: int, takes_place: bool) -> None:
    """Run and kill the processes, and check what they did."""
    log = folder / "log"
    given = {"address": address, "trials": trials, "workers": workers, "kills": kills, "log": str(log)}
    given |= {"seconds": 0.02, "takes_place": takes_place}
    command = [sys.executable, "-m", "tests.support.search_workers", json.dumps(given)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"kills": kills}

    with open_search(address, "test") as study:
        records = study.records()
        assert study.next_step(trials) is None
    done = [record.step for record in records if record.state == "done"]
    assert max(Counter(done).values()) == 1, "no step counts twice"
    assert len({step.trial for step in done if step.epochs == RUNGS[0]}) == trials, "no trial is lost"
    assert not [record for record in records if record.state in ("running", "waiting", "failed")]
    presets = {record.step.trial for record in records if record.is_preset}
    assert next_promotion({r.step: r.result for r in records if r.result}, RUNGS, done, presets) is None
    trained = [line.split() for line in log.read_text("utf-8").splitlines()]
    again = len(trained) - len(done)
    print(f"{trials} trials, {len(done)} steps, {kills} kills: {again} steps trained again")
    assert again <= kills, "only what ran is trained again"
    assert {(int(trial), int(epochs)) for trial, epochs in trained} == set(done)


def test_processes_that_are_killed_lose_only_what_ran(tmp_path: Path) -> None:
    run_search(str(tmp_path / "study.db"), tmp_path, 8, 2, 2, True)


def test_three_processes_at_one_postgresql_do_no_step_twice(
    postgresql: str, run_sql: Callable[[str], None], tmp_path: Path
) -> None:
    run_sql("CREATE DATABASE processes")
    run_search(f"{postgresql.rpartition('/')[0]}/processes", tmp_path, 8, 3, 1, False)


@pytest.mark.slow
@pytest.mark.parametrize("takes_place", [True, False])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_ten_kills_lose_only_what_ran(
    database: str, takes_place: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    address = str(tmp_path / "study.db")
    if database == "postgresql":
        request.getfixturevalue("run_sql")(f"CREATE DATABASE kills_{takes_place}")
        address = f"{request.getfixturevalue('postgresql').rpartition('/')[0]}/kills_{takes_place}".lower()
    run_search(address, tmp_path, 60, 4, 10, takes_place)


def test_a_server_that_goes_away_is_one_line_and_one_that_comes_back_goes_on(
    postgresql: str, run_sql: Callable[[str], None]
) -> None:
    run_sql("CREATE DATABASE away")
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'away'"
    with open_search(f"{postgresql.rpartition('/')[0]}/away", "") as study:
        due = study.next_step()
        assert due is not None
        run_sql(end)
        assert study.counts()["running"] == 1, "a connection that was lost is opened again"
        run_sql("ALTER DATABASE away ALLOW_CONNECTIONS false")
        run_sql(end)
        with pytest.raises(StorageError, match=r"away cannot be used: .*not currently accepting connections; check"):
            study.finish(due, StepResult(0.5, (1.0,)), 1.0)
        run_sql("ALTER DATABASE away ALLOW_CONNECTIONS true")
        assert study.finish(due, StepResult(0.5, (1.0,)), 1.0), "the result can be noted later"


def test_a_database_without_an_encoding_works(postgresql: str, run_sql: Callable[[str], None]) -> None:
    run_sql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    with open_search(f"{postgresql.rpartition('/')[0]}/ascii", "Zoë") as study:
        assert study.next_step() is not None
        assert study.records()[0].worker == "Zoë"
