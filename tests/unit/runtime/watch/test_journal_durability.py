"""What kills, full disks and losses of power leave of a journal, and what compaction keeps."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import WatchError
from runtime.watch import journal as journals
from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.journal_file import History, Identity
from tests.support.journals import ROOT, answer, command_of, in_a_process

pytestmark = pytest.mark.fast


def synced_sizes(path: Path, count: int) -> list[int]:
    """Add and mark answers; the size of the write-ahead log after each answer, when it was on the disk."""
    wal, sizes = path.with_name(f"{path.name}-wal"), []
    with Journal(path, path.parent) as journal:
        for number in range(3, 3 + count):
            journal.add(answer(number))
            sizes.append(wal.stat().st_size)
            journal.mark_delivered(answer(number).path)
        shutil.copy(wal, path.with_name("wal"))
        shutil.copy(path, path.with_name("db"))
    return sizes


@pytest.mark.parametrize("rest", [b"", b"\0", b"\xa5"])
def test_a_loss_of_power_at_any_byte_leaves_every_answer_that_was_synced(begun: Path, rest: bytes) -> None:
    sizes = synced_sizes(begun, 6)
    folder = begun.parent
    whole = (folder / "wal").read_bytes()
    for cut in {*range(0, len(whole), 997), *sizes, *(size - 1 for size in sizes), *(size + 1 for size in sizes)}:
        shutil.copy(folder / "db", begun)
        # What was not synced is missing, or holds anything.
        begun.with_name(f"{begun.name}-wal").write_bytes(whole[:cut] + rest * (len(whole) - cut if rest else 0))
        with Journal(begun, folder) as journal:
            known = [number for number in range(9) if journal.has(f"{number}.png", answer(number).identity)]
            assert known == list(range(len(known)))
            assert len(known) >= 3 + sum(size <= cut for size in sizes)
            # 2.png of the fixture, and the last one if its mark is lost
            assert journal.undelivered() in ([answer(2)], [answer(2), answer(len(known) - 1)])
            journal.add(answer(20))
        with Journal(begun, folder) as journal:
            assert journal.has("20.png", answer(20).identity)
            journal._connection.execute("DELETE FROM answers WHERE number > 3")


def test_a_copy_at_random_moments_opens_and_holds_what_was_announced(begun: Path, tmp_path: Path) -> None:
    code = """
path = Path(sys.argv[1])
with Journal(path, path.parent) as journal:
    for number in range(3, 100_000):
        journal.add(answer(number))
        print(number, flush=True)
        journal.mark_delivered(answer(number).path)
"""
    copy = tmp_path / "copy"
    with subprocess.Popen(command_of(code, begun), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for moment in range(8):
            for _ in range(1 + 37 * moment):
                announced = int(process.stdout.readline())
            os.kill(process.pid, 19)  # SIGSTOP: both files are copied as of one moment
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            copy.mkdir()
            for suffix in ("", "-wal"):
                shutil.copy(f"{begun}{suffix}", f"{copy / begun.name}{suffix}")
            os.kill(process.pid, 18)
            with Journal(copy / begun.name, copy) as journal:
                assert all(journal.has(f"{number}.png", answer(number).identity) for number in range(announced + 1))
                assert len(journal.undelivered()) <= 2  # 2.png of the fixture, and one at most
            shutil.rmtree(copy)
        process.kill()


def test_a_full_disk_loses_nothing(begun: Path) -> None:
    # A limit on a file's size stops a write in the middle, as a full disk does.
    code = """
import resource
path = Path(sys.argv[1])
with Journal(path, path.parent) as journal:
    journal.add(answer(5))
    size = path.with_name(f"{path.name}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 9000, resource.RLIM_INFINITY))
    number = 6
    try:
        while number < 50:
            journal.add(answer(number))
            number += 1
    except WatchError as error:
        assert "cannot be written" in str(error) and "make room" in str(error), error
    else:
        sys.exit("no error")
    assert not journal.has(f"{number}.png", answer(number).identity)
    try:
        journal.mark_delivered("2.png")
    except WatchError as error:
        assert "make room" in str(error), error
    else:
        sys.exit("no error")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    journal.add(answer(60))
    print(number)
"""
    done = in_a_process(code, begun)
    assert done.returncode == 0, done.stderr
    with Journal(begun, begun.parent) as journal:
        paths = [one.path for one in journal.undelivered()]
        assert paths == ["2.png", "5.png", *(f"{n}.png" for n in range(6, int(done.stdout))), "60.png"]


def test_a_disk_that_is_full_from_the_start_is_one_line(tmp_path: Path) -> None:
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    with Journal(sys.argv[1], Path(sys.argv[1]).parent) as journal:
        journal.begin({})
except WatchError as error:
    print(error)
"""
    done = in_a_process(code, tmp_path / "j")
    assert "the journal cannot be" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1
    with Journal(tmp_path / "j", tmp_path) as journal:
        assert journal.is_new


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "KEPT_ANSWERS", 10)


@pytest.mark.usefixtures("short")
def test_a_long_journal_keeps_the_newest_answers_and_those_of_files_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / DEFAULT_NAME
    present = {"0.png", "latest.png"}
    compacted = 0
    with Journal(path, tmp_path) as journal:
        journal.begin({"old.png": Identity(1, 2, 3)})
        journal.add(answer(500))  # never delivered
        for number in range(1, 90):
            for one in (answer(number), answer(number, "latest.png")) if number > 1 else (answer(0), answer(1)):
                journal.add(one)
                journal.mark_delivered(one.path)
            compacted += journal.compact_if_long(present)
            assert len(list(History(path, tmp_path))) < 2 * 10 + 4
            assert journal.has("0.png", answer(0).identity)
            assert journal.has(f"{number}.png", answer(number).identity)
    assert compacted > 3
    assert path.stat().st_size < 30_000
    with Journal(path, tmp_path) as journal:
        assert journal.undelivered() == [answer(500)]
        assert journal.has("0.png", answer(0).identity)  # old, and still there
        assert journal.has("latest.png", answer(89).identity)
        assert journal.has("89.png", answer(89).identity)  # recent
        assert not journal.has("30.png", answer(30).identity)  # old, and gone
        assert not journal.has("old.png", Identity(1, 2, 3))


@pytest.mark.usefixtures("short")
def test_exactly_the_newest_answers_stay(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", tmp_path) as journal:
        journal.begin({})
        for number in range(20):
            assert not journal.compact_if_long({"3.png"})
            journal.add(answer(number))
            journal.mark_delivered(answer(number).path)
        assert not journal.compact_if_long({f"{number}.png" for number in range(11)})  # 22 are needed before it is long
        assert journal.compact_if_long({"3.png"})
        known = [number for number in range(20) if journal.has(f"{number}.png", answer(number).identity)]
        assert known == [3, *range(10, 20)]
    assert [one.path for one, _ in History(tmp_path / "j", tmp_path)] == [f"{number}.png" for number in known]


@pytest.mark.usefixtures("short")
def test_of_an_old_file_that_is_there_the_last_answer_stays(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", tmp_path) as journal:
        journal.begin({})
        for number in range(20):
            journal.add(answer(number, "latest.png" if number < 3 else ""))
            journal.mark_delivered(answer(number, "latest.png" if number < 3 else "").path)
        assert journal.compact_if_long({"latest.png"})
        assert journal.has("latest.png", answer(2).identity)
        assert len(list(History(tmp_path / "j", tmp_path))) == 11


@pytest.mark.usefixtures("short")
def test_a_failed_compaction_changes_nothing(begun: Path) -> None:
    with Journal(begun, begun.parent) as journal:
        for number in range(3, 30):
            journal.add(answer(number))
            journal.mark_delivered(answer(number).path)
        before = list(History(begun, begun.parent))
        journal._connection.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_DELETE else sqlite3.SQLITE_OK
        )
        with pytest.raises(WatchError):
            journal.compact_if_long({"1.png"})
        assert list(History(begun, begun.parent)) == before
        journal._connection.set_authorizer(lambda *_: sqlite3.SQLITE_OK)  # Python 3.10 has no way to take it away
        assert journal.compact_if_long({"1.png"})
        assert journal.has("29.png", answer(29).identity)


def test_an_answer_is_synced_and_a_mark_is_not(begun: Path) -> None:
    with Journal(begun, begun.parent) as journal:
        levels: list[int] = []
        connection = journal._connection

        def level(statement: str) -> None:
            if statement == "COMMIT":
                levels.append(connection.execute("PRAGMA synchronous").fetchone()[0])

        def committed(change: Callable[[], object]) -> list[str]:
            seen: list[str] = []
            connection.set_trace_callback(seen.append)
            change()
            connection.set_trace_callback(None)
            return seen

        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert not any("synchronous" in text for text in committed(lambda: journal.add(answer(9))))
        marks = committed(lambda: journal.mark_delivered("9.png"))
        assert marks[0] == "PRAGMA synchronous=NORMAL"
        assert marks[-1] == "PRAGMA synchronous=FULL"
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
