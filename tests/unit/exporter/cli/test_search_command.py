"""What `pocketlens search` refuses before it trains, what it then leaves as it was, and the command that it names."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from exporter.cli.search import _show_result
from exporter.errors import ExportError, StorageError
from exporter.search import session
from exporter.search.budget import Budget, BytesAlone, Cost
from exporter.search.loop import LoopSeconds
from exporter.search.plan import SearchPlan
from exporter.search.session import DATABASE, PROFILE, SearchEnd, SearchHost, search_networks
from exporter.search.summary import SearchSummary, StepSummary, TrialSummary
from exporter.search.trial_runner import TrialRunner
from tests.support.commands import call_pocketlens
from tests.support.profiles import made_profile

pytestmark = pytest.mark.fast

PLAN = SearchPlan({"name": "digits"}, Budget(max_bytes=30_000), epochs=2)


class NoLoop:
    """Stands for a `SearchLoop` that ends at once."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None: ...

    def run(self) -> LoopSeconds:
        return LoopSeconds(0, 0, 0, 0)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SearchLoop", NoLoop)
    monkeypatch.setattr(TrialRunner, "check", lambda _: None)
    monkeypatch.setattr(session, "ProfileCost", lambda _: BytesAlone())  # no fit, which takes a second


def test_without_ray_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    refused = call_pocketlens("search", "--dataset", "digits", "--on", "ray", "--trials", 1, "--out", tmp_path / "s")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "error: `--on ray` needs ray: pip install 'pocketlens[ray]'\n"
    assert not (tmp_path / "s").exists()


def test_a_teacher_that_is_refused_leaves_no_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_: TrialRunner) -> None:
        raise ExportError("teacher runs/other: 3 labels")

    monkeypatch.setattr(TrialRunner, "check", refuse)
    with pytest.raises(ExportError, match="3 labels"):
        search_networks(replace(PLAN, teacher="runs/other"), SearchHost(tmp_path, trials=1))
    assert not (tmp_path / DATABASE).exists(), "it would refuse the right teacher"


def test_a_search_that_is_refused_leaves_the_files_of_the_other_one(no_training: None, tmp_path: Path) -> None:
    search_networks(PLAN, SearchHost(tmp_path, trials=1), made_profile())
    before = {path: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert tmp_path / PROFILE in before
    other = made_profile()._replace(device="another device")
    with pytest.raises(StorageError, match=r"has `profile` .*: use the same, or another folder$"):
        search_networks(PLAN, SearchHost(tmp_path, trials=1), other)
    with pytest.raises(ExportError, match="it has the trials of another search"):
        search_networks(replace(PLAN, epochs=3), SearchHost(tmp_path, trials=1, name="other"))
    assert {path: path.read_bytes() for path in tmp_path.glob("*.json")} == before


def test_a_search_in_another_database_is_not_taken_for_one_that_has_not_begun(tmp_path: Path) -> None:
    PLAN.write(tmp_path, "search@a+b")
    refused = call_pocketlens("search", "finish", tmp_path, "--out", tmp_path / "models")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"error: {tmp_path}: it has no study.db; give the --storage of this search\n"
    assert not (tmp_path / DATABASE).exists()


def test_the_next_command_names_storage_and_search_without_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    trial = TrialSummary(3, "done", False, {}, Cost(900), 0.5, (StepSummary(2, 0.9, 0.1, 1.0, None),), 0, None)
    end = SearchEnd(SearchSummary("accuracy", {}, (2,), (trial,), (3,), 3, {}), LoopSeconds(0, 0, 0, 0))
    host = SearchHost(Path("my search"), "postgresql://me:secret@db/x", name="second")
    _show_result(host, end, as_json=False)
    take, following = capsys.readouterr().out.splitlines()
    assert take == "take trial 3: accuracy 0.9000 on validation, 900 bytes"
    assert "--storage postgresql://me:***@db/x --name second --out models; see" in following
    _show_result(SearchHost(Path("s")), end, as_json=False)
    assert "next: pocketlens search finish s --out models; see s/search.html" in capsys.readouterr().out
