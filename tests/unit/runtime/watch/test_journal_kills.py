"""A watch that is killed before any system call that writes its journal forgets no answer that it has recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.old_journal import OLD_DEFAULT_NAME
from tests.support.journals import answer, old_journal
from tests.support.kills import can_trace, killed_at_each_system_call

pytestmark = pytest.mark.skipif(not can_trace(), reason="no strace, or it may not watch")

#: Answers an image, delivers the answer, and says after each step that it is done: that line reaches the disk later.
_WATCH = """
import os, sys
from pathlib import Path
from runtime.watch.journal import DEFAULT_NAME, Journal
from tests.support.journals import answer
folder = Path(sys.argv[1])
says = os.open(folder.parent / f"{folder.name}.says", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
with Journal(folder / DEFAULT_NAME, folder) as journal:
    if journal.is_new:
        journal.begin({})
    for number in (7, 8):
        journal.add(answer(number))
        os.write(says, b"a")
    journal.mark_delivered("7.png", "/out/7.png")
"""


def said(folder: Path) -> int:
    says = folder.with_name(f"{folder.name}.says")
    return says.stat().st_size if says.exists() else 0


def check(folder: Path, before: tuple[int, ...]) -> None:
    """What was there before is known, and so is each answer that the watch has recorded."""
    with Journal(folder / DEFAULT_NAME, folder) as journal:
        if journal.is_new:
            assert not before
            assert not said(folder)
            return
        recorded = [number for number in (7, 8) if journal.has(f"{number}.png", answer(number).identity)]
        assert len(recorded) >= said(folder)
        assert recorded in ([], [7], [7, 8])
        assert all(journal.has(f"{number}.png", answer(number).identity) for number in before)
        waiting = [found.path for found in journal.undelivered()]
        assert set(waiting) >= {"8.png"} if 8 in recorded else set(waiting) <= {"7.png", "2.png"}


def test_a_new_journal(tmp_path: Path) -> None:
    for folder in killed_at_each_system_call(tmp_path, lambda folder: None, _WATCH, 20):
        check(folder, ())


def test_a_journal_of_json_lines_that_is_taken_over(tmp_path: Path) -> None:
    def prepare(folder: Path) -> None:
        (folder / OLD_DEFAULT_NAME).write_text(old_journal(folder))

    for folder in killed_at_each_system_call(tmp_path, prepare, _WATCH, 20):
        check(folder, (0, 1, 2))
        assert not (folder / OLD_DEFAULT_NAME).exists()
