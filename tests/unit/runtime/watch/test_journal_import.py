"""A journal of JSON lines, as earlier versions wrote it, is imported once."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path

import pytest

from runtime.errors import WatchError
from runtime.watch import journal as journals
from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.journal_file import Answer, History, Identity
from runtime.watch.journal_lock import lock_old
from tests.support.journals import OLD_NAME, answer, in_a_process, old_journal

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("old", "path", "imported"),
    [
        (OLD_NAME, DEFAULT_NAME, f"{OLD_NAME}.imported"),
        (OLD_NAME, OLD_NAME, f"{OLD_NAME}.imported"),
        ("my.journal", "my.journal", "my.journal.imported"),
        ("my.journal.importing", "my.journal", "my.journal.imported"),  # a kill after the first step
    ],
)
def test_an_old_journal_is_imported_once(old: str, path: str, imported: str, tmp_path: Path) -> None:
    text = old_journal(tmp_path)
    (tmp_path / old).write_text(text + '{"path": "torn')
    for _ in range(2):
        with Journal(tmp_path / path, tmp_path) as journal:
            assert not journal.is_new
            assert journal.undelivered() == [answer(2)]
            assert journal.has("old.png", Identity(1, 2, 3))
            assert journal.has("1.png", answer(1).identity)
    bad = Answer("bad\udce9.png", Identity(1, 2, 3), error="truncated")
    expected = [(answer(0), None), (answer(1), "/out/1.png"), (bad, None), (answer(2), None)]
    assert list(History(tmp_path / path, tmp_path)) == expected
    assert {file.name for file in tmp_path.iterdir()} == {path, imported}
    assert (tmp_path / imported).read_text().startswith(text)


def test_an_old_journal_is_only_taken_over_by_the_default_name_beside_it(tmp_path: Path) -> None:
    (tmp_path / OLD_NAME).write_text(old_journal(tmp_path))
    with Journal(tmp_path / "other", tmp_path) as journal:
        assert journal.is_new
    assert (tmp_path / OLD_NAME).exists()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (3, "\0\0\0\0\n"),
        (3, '{"path": "../../etc/shadow", "size": 1, "mtime_ns": 1, "inode": 1, "error": "x"}\n'),
        (3, '{"path": "/etc/shadow", "size": 1, "mtime_ns": 1, "inode": 1, "error": "x"}\n'),
        (3, '{"path": "a.png", "size": "1", "mtime_ns": 1, "inode": 1, "error": "x"}\n'),
        (3, '{"path": "a.png", "size": 1, "mtime_ns": 1, "inode": 1}\n'),
        (3, "[" * 100_000 + "\n"),
        (3, '{"path": "a.png", "size": 1, "mtime_ns": 1, "inode": 1, "predictions": [{"label": 1}]}\n'),
        (3, "[]\n"),
        (1, '{"format": "something else"}\n'),
    ],
)
def test_a_damaged_old_journal_is_refused_and_left_alone(tmp_path: Path, line: int, text: str) -> None:
    lines = old_journal(tmp_path).splitlines(keepends=True)
    lines[line - 1] = text
    old = tmp_path / OLD_NAME
    old.write_text("".join(lines))
    with pytest.raises(WatchError, match=f"{OLD_NAME}: line {line} is damaged; move it away"):
        Journal(tmp_path / DEFAULT_NAME, tmp_path)
    assert old.read_text() == "".join(lines)


def test_an_old_journal_of_another_folder_or_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(old_journal(tmp_path / "other"))
    (tmp_path / "in").mkdir()
    with pytest.raises(WatchError, match=r"the journal of .*other"):
        Journal(tmp_path / "mine", tmp_path / "in")
    with (tmp_path / OLD_NAME).open("w+") as file:
        file.write(old_journal(tmp_path))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        for name in (DEFAULT_NAME, OLD_NAME):
            with pytest.raises(WatchError, match="another watch is using"):
                Journal(tmp_path / name, tmp_path)
    assert stat.S_ISREG((tmp_path / OLD_NAME).stat().st_mode)


def test_an_old_journal_that_another_watch_imports_meanwhile_is_not_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine"
    path.write_text(old_journal(tmp_path))
    real = lock_old

    def overtaken(handle: int, name: str) -> None:
        """The other watch does it between the opening of the old journal and its lock."""
        monkeypatch.setattr(journals, "lock_old", real)
        with Journal(path, tmp_path) as other:
            other.add(answer(7))
        real(handle, name)

    monkeypatch.setattr(journals, "lock_old", overtaken)
    with Journal(path, tmp_path) as journal:
        assert journal.has("7.png", answer(7).identity)
    assert {file.name for file in tmp_path.iterdir()} == {"mine", "mine.imported"}


def test_an_old_journal_with_a_hole_of_gigabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / OLD_NAME
    path.write_text(old_journal(tmp_path))
    os.truncate(path, 3 * 2**30)
    code = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
try:
    Journal(sys.argv[1], Path(sys.argv[1]).parent)
except WatchError as error:
    print(error)
"""
    began = time.monotonic()
    in_a_process("pass")
    start = time.monotonic() - began
    done = in_a_process(code, tmp_path / DEFAULT_NAME)
    assert "line 10 is damaged" in done.stdout, done.stderr
    assert time.monotonic() - began < 10 + 4 * start


def test_a_signal_ends_the_import_of_a_long_journal(tmp_path: Path) -> None:
    (tmp_path / OLD_NAME).write_text(old_journal(tmp_path))
    with pytest.raises(WatchError, match="was stopped; start again"):
        Journal(tmp_path / DEFAULT_NAME, tmp_path, keep_going=lambda: False)
    with Journal(tmp_path / DEFAULT_NAME, tmp_path) as journal:
        assert journal.undelivered() == [answer(2)]


def test_a_score_of_400_digits_is_damage(tmp_path: Path) -> None:
    text = old_journal(tmp_path).replace("0.5", "9" * 400)
    (tmp_path / "old.jsonl").write_text(text)
    with pytest.raises(WatchError, match="line 3 is damaged"):
        Journal(tmp_path / "old.jsonl", tmp_path)
