"""A watch of the digits model, and a journal that a watch has begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.journal_file import Identity
from tests.support.exports import Exported
from tests.support.journals import answer
from tests.support.watching import Running


@pytest.fixture
def start(tmp_path: Path, digits_export: Exported) -> Iterator[Callable[..., Running]]:
    """Starts `pocketlens watch --json` with the digits model; all are ended after the test."""
    running: list[Running] = []

    def begin(*arguments: object, **variables: str) -> Running:
        quick = ("--settle", 0.1, "--interval", 0.05, "--model", digits_export.int8, "--json")
        running.append(Running(tmp_path / f"log{len(running)}", *quick, *arguments, **variables))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The journal of a folder with three answers, the last of which was not delivered."""
    path = tmp_path / DEFAULT_NAME
    with Journal(path, tmp_path) as journal:
        assert journal.is_new
        journal.begin({"old.png": Identity(1, 2, 3)})
        assert not journal.is_new
        for number in range(3):
            journal.add(answer(number))
            if number < 2:
                journal.mark_delivered(answer(number).path, f"/out/{number}.png" if number else None)
    return path
