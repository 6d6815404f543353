"""The journal: what it remembers, its history, and what it refuses."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import WatchError
from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.journal_file import Answer, History, Identity
from tests.support.journals import answer, in_a_process, old_journal

pytestmark = pytest.mark.fast


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
        ("none", "there is no journal: nothing was watched here yet"),
        ("pipe", "not a regular file"),
        ("notes", "no journal of"),
        ("old", "an earlier version; start the watch once"),
    ):
        with pytest.raises(WatchError, match=reason):
            list(History(tmp_path / name, tmp_path))


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


def test_python_without_sqlite3_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(WatchError, match="built without sqlite3"):
        Journal(tmp_path / "j", tmp_path)
    assert not list(tmp_path.iterdir())


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
