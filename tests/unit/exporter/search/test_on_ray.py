"""Trials as Ray tasks. Ray itself is needed by the tests of a real cluster alone; it starts on this machine."""

from __future__ import annotations

import os
import platform
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("optuna")

from exporter.errors import ExportError
from exporter.search import on_ray
from exporter.search.budget import Budget, BytesAlone, Cost
from exporter.search.halving import TrialStep
from exporter.search.loop import SearchState
from exporter.search.plan import SearchPlan
from exporter.search.ray_trial import RayJob, call_runner
from exporter.search.space import Space
from exporter.search.study import SearchStudy
from exporter.search.trial_runner import TrialOutcome, TrialSeconds

pytestmark = pytest.mark.fast

SPACE = Space(1797, 3, (8,), ("grey",), quantization_aware=False)


class PretendRunner:
    """Has the methods of a `TrialRunner`. A file in the job's folder lets the process die in the first training."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cost(self, value: dict[str, Any]) -> Cost:
        if value["width_1"] > 60:
            raise ExportError("no such network")
        return Cost(100 * value["width_1"])

    def train(self, step: TrialStep, value: dict[str, Any], seconds: float | None) -> TrialOutcome:
        with (self._folder / "trained").open("a") as log:
            log.write(f"{step.trial} {step.epochs}\n")
        if (self._folder / "die").exists():
            (self._folder / "die").unlink()
            os._exit(1)
        return TrialOutcome(0.5 + value["width_1"] / 1000, 0.7, self.cost(value), TrialSeconds(1.0))


def pretend(job: RayJob, method: str, *arguments: Any) -> Any:
    """Stands for `call_runner`: training has tests of its own."""
    return getattr(PretendRunner(Path(job.folder)), method)(*arguments)


def job_in(folder: Path) -> RayJob:
    return RayJob(SearchPlan({"name": "digits"}, Budget(max_bytes=3000)), "0" * 64, str(folder), BytesAlone(), 1)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(on_ray, "call_runner", pretend)


def test_steps_run_as_tasks_and_one_that_dies_is_started_again(cluster: None, tmp_path: Path) -> None:
    (tmp_path / "die").touch()
    states: list[SearchState] = []

    def open_study(place: int) -> SearchStudy:
        return SearchStudy(tmp_path / "study.db", "data", SPACE, (1, 3), worker=str(place))

    seconds = on_ray.search_on_ray(job_in(tmp_path), open_study, trials=4, report=states.append)
    with open_study(99) as study:
        done = [record.step for record in study.records() if record.state == "done"]
        assert not study.counts()["failed"]
    assert len({step.trial for step in done}) == states[-1].trained == 4
    assert len(done) == len({*done})
    trained = (tmp_path / "trained").read_text("utf-8").splitlines()
    assert len(trained) == len(done) + 1, "the task that died was run again by Ray"
    assert seconds.training == len(done)


def test_without_ray_and_without_a_cluster_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExportError, match=r"need the package ray: install pocketlens\[ray\]"):
        on_ray.search_on_ray(job_in(tmp_path), lambda _: pytest.fail("no study"))


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs ray")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(ExportError, match=r"no Ray cluster can be reached: .*RAY_ADDRESS") as raised:
        on_ray.search_on_ray(job_in(tmp_path), lambda _: pytest.fail("no study"))
    assert "\n" not in str(raised.value)


class RayError(Exception):
    """Stands for Ray's own: it may have the cause with it."""

    cause: Exception | None = None


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (ExportError("no such network"), "no such network"),
        (None, "Ray could not run the trial: RayError: the node died"),
        (MemoryError("too much"), "Ray could not run the trial: MemoryError: too much"),
    ],
)
def test_what_a_task_dies_of_is_one_line(cause: Exception | None, said: str, tmp_path: Path) -> None:
    error = RayError("a long story\nthe node died")
    error.cause = cause

    def get(_: object) -> None:
        raise error

    ray: Any = SimpleNamespace(
        exceptions=SimpleNamespace(RayError=RayError),
        remote=lambda **_: lambda function: SimpleNamespace(remote=lambda *_: "reference"),
        wait=lambda references, timeout: (references, []),
        get=get,
    )
    runner = on_ray.RayRunner(ray, job_in(tmp_path), threading.Event())
    with pytest.raises(ExportError) as raised:
        runner.cost({"width_1": 4})
    assert str(raised.value) == said


def test_a_node_with_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "pi")
    with pytest.raises(ExportError, match=r"node pi: the data set digits has the hash \w{12} there, not 000000000000;"):
        call_runner(job_in(tmp_path), "cost", {})
