"""A command runs at least once for each answer, and again until it succeeds or is given up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.watch import commands
from runtime.watch.commands import pause_after
from runtime.watch.hook import Hook
from runtime.watch.journal import DEFAULT_NAME
from tests.support.watching import draw, names, watched

#: Fails until the file `ok` is there, and records each attempt.
FLAKY = "sh -c 'echo \"$1\" >> attempts; test -e ok' _ '{path} {label}'"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with one image, and no pauses."""
    monkeypatch.setattr(commands, "pause_after", lambda _: 0.0)
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "in" / "a.png")
    return tmp_path / "in"


def waiting(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / DEFAULT_NAME)) as connection:
        return connection.execute("SELECT attempts FROM commands").fetchall()


def attempts() -> list[str]:
    return Path("attempts").read_text().splitlines()


def test_a_command_that_fails_runs_again_until_it_succeeds(at_once: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = watched(at_once, lambda: None, lambda: None, Path("ok").touch, lambda: None, hook=Hook(FLAKY))
    assert names(told) == ["a.png"]
    assert 3 <= len(attempts()) <= 5
    assert set(attempts()) == {f"{at_once}/a.png cat"}
    assert waiting(at_once) == []
    assert caplog.text.count("ended with status 1; tried again in 0 s") == len(attempts()) - 1


def test_the_attempts_are_kept_over_restarts_and_then_it_is_given_up(
    at_once: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for start in range(6):
        told = watched(at_once, hook=Hook(FLAKY), retries=3)
        assert names(told) == (["a.png"] if start == 0 else [])  # it is printed once
    assert len(attempts()) == 4
    assert waiting(at_once) == []
    assert caplog.text.count("given up after 4 attempts") == 1


def test_without_retries_it_is_given_up_at_once(at_once: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched(at_once, lambda: None, hook=Hook("false"), retries=0)
    assert "given up after 1 attempts" in caplog.text
    assert waiting(at_once) == []


def test_what_is_not_due_waits_and_a_watch_without_the_command_keeps_it(
    at_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "pause_after", pause_after)
    for _ in range(3):
        watched(at_once, lambda: None, hook=Hook(FLAKY))
        watched(at_once)
    assert len(attempts()) == 1
    assert waiting(at_once) == [(1,)]
    with closing(sqlite3.connect(at_once / DEFAULT_NAME)) as connection:
        connection.execute("UPDATE commands SET retry_at = 1e300")  # the clock was wrong
        connection.commit()
    monkeypatch.setattr(commands, "pause_after", lambda _: 0.0)
    Path("ok").touch()
    watched(at_once, lambda: None, hook=Hook(FLAKY))
    assert len(attempts()) == 2
    assert waiting(at_once) == []


def test_one_that_fails_does_not_hold_up_new_images(at_once: Path) -> None:
    for number in range(5):
        draw(at_once / f"{number}.png", number)
    told = watched(
        at_once, lambda: None, lambda: draw(at_once / "new.png", 9), lambda: None, lambda: None, hook=Hook(FLAKY)
    )
    assert len(told) == 7
    assert len(attempts()) <= 7 + 4  # one attempt again between two scans


def test_a_new_answer_under_the_same_name_keeps_the_old_command(at_once: Path) -> None:
    watched(at_once, lambda: draw(at_once / "a.png", 5), lambda: None, hook=Hook(FLAKY))
    assert len(waiting(at_once)) == 2


def test_a_label_that_the_model_lacks_is_not_given_to_the_command(at_once: Path) -> None:
    watched(at_once, hook=Hook(FLAKY))
    watched(at_once, lambda: None, hook=Hook(FLAKY), labels=["dog", "bird"])
    assert len(attempts()) == 1
    assert waiting(at_once) == []


def test_an_answer_whose_command_waits_is_not_compacted_away(at_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "pause_after", pause_after)
    monkeypatch.setattr("runtime.watch.journal.KEPT_ANSWERS", 2)
    watched(at_once, lambda: (at_once / "a.png").unlink(), hook=Hook(FLAKY))
    for number in range(8):
        watched(at_once, partial(draw, at_once / f"{number}.png", number), lambda: None)
    for number in range(8):
        (at_once / f"{number}.png").unlink()
    watched(at_once, lambda: None)
    monkeypatch.setattr(commands, "pause_after", lambda _: 0.0)
    Path("ok").touch()
    watched(at_once, lambda: None, hook=Hook(FLAKY))
    assert len(attempts()) == 2
