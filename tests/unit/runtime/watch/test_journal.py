"""The journal: what it remembers, what it refuses, and what kills, full disks and losses of power leave."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import WatchError
from runtime.postprocessing import Prediction
from runtime.watch import journal as journals
from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.journal_file import Answer, History, Identity
from runtime.watch.journal_lock import lock_old

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[4]
OLD_NAME = ".pocketlens-watch.jsonl"


def answer(number: int, name: str = "") -> Answer:
    identity = Identity(100 + number, 10**18 + number, number)
    return Answer(name or f"{number}.png", identity, (Prediction("cat", 0.5, 0),))


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


def in_a_process(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code that finds this module's names, in a process of its own."""
    lines = f"import sys\nfrom tests.unit.runtime.watch.test_journal import *\n{code}"
    command = [sys.executable, "-c", lines, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_what_was_answered_is_known_again(begun: Path) -> None:
    with Journal(begun, begun.parent) as journal:
        assert not journal.is_new
        assert journal.undelivered() == [answer(2)]
        for number in range(3):
            assert journal.has(f"{number}.png", answer(number).identity)
            assert not journal.has(f"{number}.png", answer(number + 1).identity)
        assert journal.has("old.png", Identity(1, 2, 3))
        journal.mark_delivered("2.png")
        assert journal.undelivered() == []
    assert sorted(path.name for path in begun.parent.iterdir()) == [DEFAULT_NAME]


def test_odd_names_large_numbers_and_errors_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n\x1b.png")
    odd = Answer(name, Identity(2**63, 2**64 + 1, 2**64 - 1), error=f"{name}: truncated")
    with Journal(tmp_path / "j?#%41", tmp_path) as journal:
        journal.begin({})
        journal.add(odd)
    with Journal(tmp_path / "j?#%41", tmp_path) as journal:
        assert journal.has(odd.path, odd.identity)
        assert journal.undelivered() == [odd]
        journal.mark_delivered(odd.path, os.fsdecode(b"/out/\xe9"))
    assert list(History(tmp_path / "j?#%41", tmp_path)) == [(odd, os.fsdecode(b"/out/\xe9"))]
    assert [path.name for path in tmp_path.iterdir()] == ["j?#%41"]


def test_history_gives_the_answers_in_order_also_while_a_watch_runs(begun: Path, tmp_path: Path) -> None:
    expected = [(answer(0), None), (answer(1), "/out/1.png"), (answer(2), None)]
    assert list(History(begun, tmp_path)) == expected
    assert [path.name for path in tmp_path.iterdir()] == [DEFAULT_NAME]
    with Journal(begun, tmp_path) as journal:
        journal.add(answer(3))
        code = "print([answer.path for answer, _ in History(sys.argv[1], sys.argv[2])])"
        done = in_a_process(code, begun, tmp_path)
        assert done.stdout == "['0.png', '1.png', '2.png', '3.png']\n", done.stderr
        journal.add(answer(4))
    assert len(list(History(begun, tmp_path))) == 5


def test_history_reads_more_than_one_part_and_lets_the_journal_change_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.watch.journal_file._HISTORY_ROWS", 3)
    path = tmp_path / "j"
    with Journal(path, tmp_path) as journal:
        journal.begin({"x.png": Identity(1, 2, 3), "y.png": Identity(1, 2, 3)})
        for number in range(7):
            journal.add(answer(number))
        found = []
        for one, _ in History(path, tmp_path):
            found.append(one.path)
            if len(found) < 4:
                journal.add(answer(6 + len(found)))
    assert found == [f"{number}.png" for number in range(10)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_history_in_a_folder_that_is_read_only(begun: Path) -> None:
    begun.parent.chmod(0o500)
    try:
        assert len(list(History(begun, begun.parent))) == 3
    finally:
        begun.parent.chmod(0o700)


def test_history_of_what_is_no_journal(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "notes").write_text("notes")
    (tmp_path / "old").write_text(old_journal(tmp_path))
    for name, reason in (
        ("none", "cannot be read: No such file"),
        ("pipe", "not a regular file"),
        ("notes", "no journal of"),
        ("old", "an earlier version; start the watch once"),
    ):
        with pytest.raises(WatchError, match=reason):
            list(History(tmp_path / name, tmp_path))


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
    lines = f"import sys\nfrom tests.unit.runtime.watch.test_journal import *\n{code}"
    command = [sys.executable, "-c", lines, str(begun)]
    copy = tmp_path / "copy"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
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


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    for content in (b"notes", b"notes\nof mine\n" * 100):
        (tmp_path / "notes").write_bytes(content)
        with pytest.raises(WatchError, match="no journal of `pocketlens watch`; move it away"):
            Journal(tmp_path / "notes", tmp_path)
        assert (tmp_path / "notes").read_bytes() == content
    with closing(sqlite3.connect(tmp_path / "photos.db")) as photos:
        photos.execute("CREATE TABLE answers (x)")
    content = (tmp_path / "photos.db").read_bytes()
    with pytest.raises(WatchError, match="no journal of `pocketlens watch`; move it away"):
        Journal(tmp_path / "photos.db", tmp_path)
    assert (tmp_path / "photos.db").read_bytes() == content
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    for name, reason in (("pipe", "not a regular file"), ("link", "cannot be opened"), ("no/such", "cannot be opened")):
        with pytest.raises(WatchError, match=f"{reason}.*; name another .*`journal`"):
            Journal(tmp_path / name, tmp_path)


@pytest.mark.parametrize("arrange", [lambda wal: os.mkfifo(wal), lambda wal: wal.symlink_to("/dev/zero"), Path.mkdir])
def test_what_a_stranger_puts_in_the_place_of_the_log_is_refused(begun: Path, arrange: Callable[[Path], Any]) -> None:
    arrange(begun.with_name(f"{begun.name}-wal"))
    with pytest.raises(WatchError, match="-wal: not a regular file"):
        Journal(begun, begun.parent)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE answers SET path = CAST('../../etc/shadow' AS BLOB)",
        "UPDATE answers SET path = CAST('/etc/shadow' AS BLOB)",
        "UPDATE answers SET path = 7",
        "UPDATE answers SET identity = '1 2'",
        "UPDATE answers SET identity = '1 2 x'",
        "UPDATE answers SET answer = '{}' WHERE NOT delivered",
        'UPDATE answers SET answer = \'{"predictions": [{"label": 1}]}\' WHERE NOT delivered',
        "UPDATE answers SET answer = 'x' WHERE NOT delivered",
        "UPDATE answers SET answer = CAST(x'80ff' AS TEXT) WHERE NOT delivered",
        f"UPDATE answers SET answer = '{'[' * 100_000}' WHERE NOT delivered",
        "UPDATE meta SET folder = 7",
        "DROP TABLE commands",
        "CREATE INDEX i ON begun (path)",
        "DELETE FROM meta",
        "DROP TABLE meta",
        "DROP TABLE answers",
        "CREATE TRIGGER t AFTER INSERT ON answers BEGIN DELETE FROM answers; END",
        "CREATE VIEW v AS SELECT 1",
    ],
)
def test_damage_in_a_row_or_a_table_is_refused(begun: Path, statement: str) -> None:
    with closing(sqlite3.connect(begun)) as connection:
        connection.execute(statement)
        connection.commit()
    content = begun.read_bytes()
    with pytest.raises(WatchError, match="damaged; move it away to begin anew"):
        Journal(begun, begun.parent)
    assert begun.read_bytes() == content


def test_damage_to_bytes_is_refused_or_harmless(begun: Path) -> None:
    content = begun.read_bytes()
    messages = []
    for place in (*range(0, 100, 7), *range(100, len(content), 211)):
        begun.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        try:
            with Journal(begun, begun.parent) as journal:
                journal.undelivered()
        except WatchError as error:
            messages.append(str(error))
        for file in begun.parent.glob(f"{begun.name}-*"):
            file.unlink()
    assert len(messages) > 3
    assert all("; " in message and "\n" not in message for message in messages)
    begun.write_bytes(content[: len(content) - 4096])
    with pytest.raises(WatchError, match="damaged"):
        Journal(begun, begun.parent)


def test_a_newer_version_and_another_folder_are_refused(begun: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for use in (Journal, lambda *names: list(History(*names))):
        with pytest.raises(WatchError, match="the journal of "):
            use(begun, tmp_path / "other")
    moved = tmp_path / "other" / DEFAULT_NAME  # with its folder, as on another mount
    begun.rename(moved)
    with Journal(moved, moved.parent) as journal:
        assert journal.has("1.png", answer(1).identity)
    with closing(sqlite3.connect(moved)) as connection:
        connection.execute("UPDATE meta SET version = 2")
        connection.commit()
    with pytest.raises(WatchError, match="version 2, expected 1; upgrade"):
        Journal(moved, moved.parent)


def test_two_watches_cannot_share_a_journal(begun: Path, tmp_path: Path) -> None:
    code = """
try:
    Journal(sys.argv[1], sys.argv[2]).close()
except WatchError as error:
    print(error)
"""
    for path in (begun, tmp_path / "new"):
        with Journal(path, tmp_path) as journal:
            for _ in range(2):  # the refused one takes nothing from the first
                assert "another watch is using" in in_a_process(code, path, tmp_path).stdout
            journal.begin({}) if journal.is_new else journal.add(answer(7))
            assert "another watch is using" in in_a_process(code, path, tmp_path).stdout
        assert in_a_process(code, path, tmp_path).stdout == ""


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_journal_removed_while_in_use_is_an_error(begun: Path, suffix: str) -> None:
    with Journal(begun, begun.parent) as journal:
        journal.add(answer(4))
        Path(f"{begun}{suffix}").unlink()
        with pytest.raises(WatchError, match="removed while in use"):
            journal.add(answer(5))


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
        journal._connection.set_authorizer(None)
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


def test_python_without_sqlite3_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(WatchError, match="built without sqlite3"):
        Journal(tmp_path / "j", tmp_path)
    assert not list(tmp_path.iterdir())


# A journal of JSON lines, as earlier versions wrote it.


def old_journal(folder: Path) -> str:
    predictions = [{"label": "cat", "score": 0.5, "index": 0}]

    def line(number: int) -> dict[str, Any]:
        return {"path": f"{number}.png", **answer(number).identity._asdict(), "predictions": predictions}

    records = (
        {"format": "pocketlens-watch", "version": 1, "folder": str(folder.resolve())},
        {"path": "old.png", "size": 1, "mtime_ns": 2, "inode": 3, "skipped": True},
        line(0),
        {"told": "0.png"},
        line(1),
        {"told": "1.png", "moved_to": "/out/1.png"},
        {"path": "bad\udce9.png", "size": 1, "mtime_ns": 2, "inode": 3, "error": "truncated"},
        {"told": "bad\udce9.png"},
        line(2),
    )
    return "".join(f"{json.dumps(record)}\n" for record in records)


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
    done = in_a_process(code, tmp_path / DEFAULT_NAME)
    assert "line 10 is damaged" in done.stdout, done.stderr
    assert time.monotonic() - began < 10


def test_a_signal_ends_the_import_of_a_long_journal(tmp_path: Path) -> None:
    (tmp_path / OLD_NAME).write_text(old_journal(tmp_path))
    with pytest.raises(WatchError, match="was stopped; start again"):
        Journal(tmp_path / DEFAULT_NAME, tmp_path, keep_going=lambda: False)
    with Journal(tmp_path / DEFAULT_NAME, tmp_path) as journal:
        assert journal.undelivered() == [answer(2)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO commands VALUES (1, 'x', 1.0)",
        "INSERT INTO commands VALUES (2, 1, 'x')",
        "INSERT INTO begun VALUES (CAST('3.png' AS BLOB), '103 1000000000000000003 3', 'x')",
        "UPDATE answers SET path = CAST('../x' AS BLOB)",
    ],
)
def test_damage_to_what_is_unfinished_is_our_error(begun: Path, statement: str) -> None:
    with closing(sqlite3.connect(begun)) as connection:
        connection.execute("INSERT INTO commands VALUES (4, 1, 1.0)")
        connection.execute("INSERT INTO moves VALUES (4)")
        connection.commit()
        with Journal(begun, begun.parent) as journal:
            assert [failed.answer for failed in journal.unfinished.failed_commands()] == [answer(2)]
            assert journal.unfinished.failed_moves() == [(4, answer(2))]
            connection.execute(statement)
            connection.commit()
            with pytest.raises(WatchError, match="damaged; move it away"):
                unfinished_of(journal)


def unfinished_of(journal: Journal) -> None:
    journal.unfinished.failed_commands()
    journal.unfinished.begin_image("3.png", answer(3).identity)
