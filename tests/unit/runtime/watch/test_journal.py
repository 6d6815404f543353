from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import WatchError
from runtime.postprocessing import Prediction
from runtime.watch import journal as journals
from runtime.watch.entries import Entry, Identity
from runtime.watch.journal import DEFAULT_NAME, Journal

ROOT = Path(__file__).parents[4]


def entry(number: int, name: str = "") -> Entry:
    return Entry(name or f"{number}.png", Identity(100 + number, 10**18 + number, number), (Prediction("cat", 0.5, 0),))


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The journal of a folder with three answers, the last of which was not told."""
    path = tmp_path / DEFAULT_NAME
    with Journal(path, tmp_path) as journal:
        assert journal.is_new
        journal.begin({"old.png": Identity(1, 2, 3)})
        for number in range(3):
            journal.add(entry(number))
            if number < 2:
                journal.told(entry(number).path)
    return path


def test_what_was_answered_is_known_again(begun: Path) -> None:
    with Journal(begun, begun.parent) as journal:
        assert not journal.is_new
        assert journal.untold() == [entry(2)]
        for number in range(3):
            assert journal.has(f"{number}.png", entry(number).identity)
            assert not journal.has(f"{number}.png", entry(number + 1).identity)
        assert journal.has("old.png", Identity(1, 2, 3))
        journal.told("2.png")
        assert journal.untold() == []


def test_names_that_are_no_text_and_errors_come_back(tmp_path: Path) -> None:
    odd = Entry(os.fsdecode(b"caf\xe9\n\x1b.png"), Identity(1, 2, 3), error="truncated")
    with Journal(tmp_path / "j", tmp_path) as journal:
        journal.begin({})
        journal.add(odd)
    with Journal(tmp_path / "j", tmp_path) as journal:
        assert journal.untold() == [odd]


def test_a_kill_at_any_byte_leaves_whole_answers(begun: Path) -> None:
    content = begun.read_bytes()
    header, last = content.index(b"\n") + 1, content.rindex(b"\n", 0, -1)
    for cut in (*range(header, last, 9), *range(last, len(content) + 1)):
        begun.write_bytes(content[:cut])
        whole = content[:cut].count(b"\n")
        with Journal(begun, begun.parent) as journal:
            assert begun.read_bytes() == b"".join(content.splitlines(keepends=True)[:whole])
            answered = [n for n in range(3) if journal.has(f"{n}.png", entry(n).identity)]
            assert answered == list(range(sum(b'"predictions"' in line for line in content.splitlines()[:whole])))
            journal.add(entry(7))
        with Journal(begun, begun.parent) as journal:
            assert journal.has("7.png", entry(7).identity)


def test_zeros_at_the_end_are_cut_off(begun: Path) -> None:
    content = begun.read_bytes()
    begun.write_bytes(content + bytes(700))
    Journal(begun, begun.parent).close()
    assert begun.read_bytes() == content


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (3, b"\0\0\0\0\n"),
        (3, b'{"path": "../../etc/shadow", "size": 1, "mtime_ns": 1, "inode": 1, "error": "x"}\n'),
        (3, b'{"path": "/etc/shadow", "size": 1, "mtime_ns": 1, "inode": 1, "error": "x"}\n'),
        (3, b'{"path": "a.png", "size": "1", "mtime_ns": 1, "inode": 1, "error": "x"}\n'),
        (3, b'{"path": "a.png", "size": 1, "mtime_ns": 1, "inode": 1}\n'),
        (3, b"[" * 100_000 + b"\n"),
        (3, b'{"path": "a.png", "size": 1, "mtime_ns": 1, "inode": 1, "predictions": [{"label": 1}]}\n'),
        (3, b"[]\n"),
        (1, b'{"format": "something else"}\n'),
        (1, b"a file of somebody's\n"),
    ],
)
def test_damage_in_the_middle_is_refused_and_left_alone(begun: Path, line: int, text: bytes) -> None:
    lines = begun.read_bytes().splitlines(keepends=True)
    lines[line - 1] = text
    begun.write_bytes(b"".join(lines))
    reason = f"line {line} is damaged" if line > 1 else "no journal of `pocketlens watch`"
    with pytest.raises(WatchError, match=f"{reason}; move it away"):
        Journal(begun, begun.parent)
    assert begun.read_bytes() == b"".join(lines)


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    for content in (b"notes", b"notes\nof mine\n"):
        (tmp_path / "notes").write_bytes(content)
        with pytest.raises(WatchError, match="no journal"):
            Journal(tmp_path / "notes", tmp_path)
        assert (tmp_path / "notes").read_bytes() == content
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    for name, reason in (("pipe", "not a regular file"), ("link", "cannot be opened"), ("no/such", "cannot be opened")):
        with pytest.raises(WatchError, match=reason):
            Journal(tmp_path / name, tmp_path)


def test_a_newer_version_and_another_folder_are_refused(begun: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(WatchError, match="the journal of "):
        Journal(begun, tmp_path / "other")
    moved = tmp_path / "other" / DEFAULT_NAME  # with its folder, as on another mount
    begun.rename(moved)
    with Journal(moved, moved.parent) as journal:
        assert journal.has("1.png", entry(1).identity)
    moved.write_text(moved.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(WatchError, match="version 2, expected 1"):
        Journal(moved, moved.parent)


def test_two_watches_cannot_share_a_journal(begun: Path) -> None:
    with Journal(begun, begun.parent) as journal:
        with pytest.raises(WatchError, match="another watch is using"):
            Journal(begun, begun.parent)
        journal.begin({})  # puts a new file in its place
        with pytest.raises(WatchError, match="another watch is using"):
            Journal(begun, begun.parent)
    Journal(begun, begun.parent).close()


def test_a_journal_removed_while_in_use_is_an_error(begun: Path) -> None:
    with Journal(begun, begun.parent) as journal:
        begun.unlink()
        with pytest.raises(WatchError, match="removed while in use"):
            journal.add(entry(5))


def test_a_full_disk_loses_nothing(begun: Path) -> None:
    # A limit on a file's size stops a write in the middle of a line, as a full disk does.
    code = """
import resource, sys
from tests.unit.runtime.watch.test_journal import *
path = Path(sys.argv[1])
with Journal(path, path.parent) as journal:
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 150, size + 150))
    journal.add(entry(5))
    after = path.stat().st_size
    try:
        journal.add(entry(6))
    except WatchError as error:
        assert "make room" in str(error), error
    else:
        sys.exit("no error")
    assert path.stat().st_size == after > size
    assert not journal.has("6.png", entry(6).identity)
"""
    command = [sys.executable, "-c", code, str(begun)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Journal(begun, begun.parent) as journal:
        assert [e.path for e in journal.untold()] == ["2.png", "5.png"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "KEPT_LINES", 20)


@pytest.mark.usefixtures("short")
def test_a_long_journal_keeps_the_last_lines_and_those_of_files_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / DEFAULT_NAME
    present = {"0.png", "latest.png"}
    compacted = 0
    with Journal(path, tmp_path) as journal:
        journal.begin({"old.png": Identity(1, 2, 3)})
        for number in range(1, 90):
            for one in (entry(number), entry(number, "latest.png")) if number > 1 else (entry(0), entry(1)):
                journal.add(one)
                journal.told(one.path)
            compacted += journal.compact_if_long(present)
            assert path.read_bytes().count(b"\n") <= 2 * 20 + 4
    assert compacted > 3
    assert not list(tmp_path.glob("*.new"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["format"] == "pocketlens-watch"
    with Journal(path, tmp_path) as journal:
        assert journal.untold() == []
        assert journal.has("0.png", entry(0).identity)  # old, and still there
        assert journal.has("latest.png", entry(89).identity)
        assert journal.has("89.png", entry(89).identity)  # recent
        assert not journal.has("30.png", entry(30).identity)  # old, and gone
        assert not journal.has("old.png", Identity(1, 2, 3))


@pytest.mark.usefixtures("short")
def test_a_kill_while_it_is_written_anew_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / DEFAULT_NAME
    with Journal(path, tmp_path) as journal:
        journal.begin({})
        for number in range(30):
            journal.add(entry(number))
            journal.told(entry(number).path)
        before = path.read_bytes()

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                journal.compact_if_long({"1.png"})
        assert path.read_bytes() == before
        assert journal.compact_if_long({"1.png"})
    with Journal(path, tmp_path) as journal:
        assert journal.has("29.png", entry(29).identity)


def test_an_answer_is_synced_and_a_mark_is_not(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real: Callable[[int], None] = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (calls.append("sync"), real(fd))[1])
    with Journal(begun, begun.parent) as journal:
        journal.add(entry(9))
        assert calls == ["sync"]
        journal.told("9.png")
        assert calls == ["sync"]
