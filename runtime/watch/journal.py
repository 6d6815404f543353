"""The journal of a watch: an SQLite file that holds which images were answered, and with what.

    meta     one row: version, folder
    answers  one row an answer, in order: number, path, identity, answer, moved_to, delivered
    commands one row a command that failed and is run again: answer's number, attempts, retry_at
    moves    one row an image that could not be moved: answer's number
    begun    one row an image that is being answered, or was when the process died: path, identity, deaths

An image is answered when its row is committed (write-ahead log, `synchronous=FULL`, one transaction an answer), before
the answer is printed. So a kill, or a loss of power, leaves each image with one answer or none, and an image without
one is answered at the next start. `delivered` is set after the answer was printed and its command was run; a command
that failed joins `commands` in the same transaction. That change is not synced: an answer that is not marked is
delivered again at the next start, so each is delivered at least once, and its command runs until it succeeds or is
given up.

Events for outputs wait in a file of their own, `runtime.outputs.event_log`. They are queued before their answer is
marked, so that an answer that is delivered again is told again too.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import WatchError
from ..file_lock import is_at
from ..files import shown, sync_folder
from .journal_file import (
    APPLICATION_ID,
    JOURNAL_VERSION,
    SCHEMA,
    Answer,
    Identity,
    JournalFile,
    answer_from_row,
    is_old_journal,
)
from .journal_lock import lock, lock_old
from .old_journal import OLD_DEFAULT_NAME, JournalRow, read_old_journal
from .unfinished import UnfinishedWork

if TYPE_CHECKING:
    import sqlite3

DEFAULT_NAME = ".pocketlens-watch.sqlite"
#: The newest answers that stay in the journal even if their files are gone.
KEPT_ANSWERS = 10_000
#: An answer of a journal of JSON lines is shorter.
_MAX_OLD_LINE_BYTES = 2**20
#: Instructions of SQLite between two calls of `keep_going`.
_STEPS_BETWEEN_CHECKS = 100_000


class Journal(JournalFile):
    """The journal of one folder's watch, locked while it is open; a context manager.

    A journal of JSON lines, which earlier versions wrote, is imported once: one at `path` itself is renamed to
    `*.imported` and an SQLite file takes its place; one called `.pocketlens-watch.jsonl` is taken over by a new
    journal of the default name beside it.

    Args:
        path: the file; created if it is missing.
        folder: the folder that is watched.
        keep_going: called while a long journal is read; False ends the reading with an error.

    Attributes:
        is_new: whether `begin` was never called for it.
        unfinished: commands and moves to try again, and the image that is being answered.

    Raises:
        WatchError: the journal is locked by another watch, is damaged, belongs to another folder, or cannot be read
            or written; or this Python has no sqlite3.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        keep_going: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(path, folder)
        self._keep_going = keep_going
        self.unfinished = UnfinishedWork(self._unsynced)
        self._wal = self.path.with_name(f"{self.path.name}-wal")
        self._answered: dict[str, Identity] = {}
        self._undelivered: dict[str, tuple[int, Answer]] = {}
        self._count = 0
        with ExitStack() as resources, self._errors_of("opened"):
            self._handle = self._open_andlock(resources)
            self._connection = self._connect(resources, "?mode=rw")
            self._connection.set_progress_handler(lambda: not keep_going(), _STEPS_BETWEEN_CHECKS)
            self.is_new = not self._is_begun(self._connection)
            if self._connection.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
                raise self._sqlite.OperationalError("its file system cannot share memory between processes")
            self._connection.execute("PRAGMA synchronous=FULL")
            if self.is_new:
                self._import()
            else:
                self._load()
            self._connection.set_progress_handler(None, 0)
            self._resources = resources.pop_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release its lock."""
        self._resources.close()

    def begin(self, skipped: Mapping[str, Identity]) -> None:
        """Create the tables, and record that these images are not to be answered; all of it or nothing."""
        self._create(JournalRow(Answer(path, identity, skipped=True), True) for path, identity in skipped.items())

    def has(self, path: str, identity: Identity) -> bool:
        """Whether this very file was answered."""
        return self._answered.get(path) == identity

    def undelivered(self) -> list[Answer]:
        """Answers that may not have been delivered, in the order in which they were given."""
        return [answer for _, answer in self._undelivered.values()]

    def add(self, answer: Answer) -> None:
        """Record an answer; when this returns, it is on the disk.

        Raises:
            WatchError: it could not be written; the image is not answered then.
        """
        self._check_in_place()
        with self._transaction() as connection:
            number = self._insert(answer, delivered=False)
            connection.execute("DELETE FROM begun WHERE path = ?", (os.fsencode(answer.path),))
        self._count += 1
        self._answered[answer.path] = answer.identity
        self._undelivered[answer.path] = (number, answer)

    def mark_delivered(
        self,
        path: str,
        moved_to: str | None = None,
        *,
        move_failed: bool = False,
        retry_command_at: float | None = None,
    ) -> int:
        """Record that the last answer to this image was delivered, and to where the image was moved.

        Args:
            move_failed: the image could not be moved, which is tried again at the next start.
            retry_command_at: when the command, which failed, is run again, in seconds since 1970; None if it did not.

        Returns:
            the answer's number.
        """
        number, _ = self._undelivered[path]
        place = None if moved_to is None else os.fsencode(moved_to)
        with self._unsynced() as connection:
            connection.execute("UPDATE answers SET delivered = 1, moved_to = ? WHERE number = ?", (place, number))
            if move_failed:
                connection.execute("INSERT INTO moves VALUES (?)", (number,))
            if retry_command_at is not None:
                connection.execute("INSERT INTO commands VALUES (?, 1, ?)", (number, retry_command_at))
        del self._undelivered[path]
        return number

    def forget(self, path: str) -> None:
        """Remove the last answer to this image, which was not delivered, so that the image is answered again."""
        number, _ = self._undelivered[path]
        with self._transaction() as connection:
            connection.execute("DELETE FROM answers WHERE number = ?", (number,))
        self._load()

    def compact_if_long(self, present: Collection[str]) -> bool:
        """Once there are twice as many answers as needed, drop old ones whose images are not among `present`."""
        if self._count < 2 * max(KEPT_ANSWERS, len(present)):
            return False
        with self._transaction() as connection:
            newest = dict(connection.execute("SELECT path, max(number) FROM answers GROUP BY path"))
            needed = {newest.get(os.fsencode(path)) for path in present}
            old = connection.execute(
                "SELECT number FROM answers WHERE delivered AND number <= (SELECT max(number) FROM answers) - ? "
                "AND number NOT IN (SELECT answer FROM commands)",
                (KEPT_ANSWERS,),
            ).fetchall()
            dropped = [row for row in old if row[0] not in needed]
            connection.executemany("DELETE FROM answers WHERE number = ?", dropped)
            connection.executemany("DELETE FROM moves WHERE answer = ?", dropped)
        self._load()
        return True

    def _open_andlock(self, resources: ExitStack) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            handle = os.open(self.path, flags, 0o644)
            with ExitStack() as failed:
                failed.callback(os.close, handle)
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise WatchError(f"{self._name}: not a regular file; name another journal with `journal`")
                if is_old_journal(os.pread(handle, 64, 0)):
                    lock_old(handle, self._name)
                    if is_at(handle, self.path):
                        self.path.rename(self._beside(".importing"))
                    continue
                lock(handle, self._name)
                if not is_at(handle, self.path):
                    continue
                failed.pop_all()
            # Closed after SQLite's own handles, whose locks end when the process closes any handle of the file.
            resources.callback(os.close, handle)
            return handle

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}{suffix}")

    def _check_in_place(self) -> None:
        if os.fstat(self._handle).st_nlink == 0 or not self._wal.exists():
            raise WatchError(f"{self._name}: the journal was removed while in use; start again")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors_of("written"), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _unsynced(self) -> Iterator[sqlite3.Connection]:
        """A transaction that does not wait for the disk; the next answer's commit syncs it too."""
        self._connection.execute("PRAGMA synchronous=NORMAL")
        try:
            with self._transaction() as connection:
                yield connection
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")

    def _insert(self, answer: Answer, *, delivered: bool, moved_to: str | None = None) -> int:
        values = (
            os.fsencode(answer.path),
            str(answer.identity),
            None if answer.skipped else json.dumps(answer.as_dict()),
            None if moved_to is None else os.fsencode(moved_to),
            delivered,
        )
        sql = "INSERT INTO answers (path, identity, answer, moved_to, delivered) VALUES (?, ?, ?, ?, ?)"
        return int(self._connection.execute(sql, values).lastrowid or 0)

    def _create(self, rows: Iterable[JournalRow]) -> None:
        with self._transaction() as connection:
            for table in SCHEMA:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute("INSERT INTO meta VALUES (?, ?)", (JOURNAL_VERSION, os.fsencode(self._folder)))
            for answer, delivered, moved_to in rows:
                self._insert(answer, delivered=delivered, moved_to=moved_to)
        with self._errors_of("written"):
            sync_folder(self.path.parent)
        self.is_new = False
        self._load()

    def _load(self) -> None:
        """Read which images were answered, and the answers that were not delivered."""
        self._answered, self._undelivered, self._count = {}, {}, 0
        rows = self._connection.execute(
            "SELECT number, path, identity, CASE WHEN delivered THEN NULL ELSE answer END FROM answers ORDER BY number"
        )
        with self._errors_of("read"):
            for number, *values in rows:
                answer = answer_from_row(*values)
                self._count += 1
                self._answered[answer.path] = answer.identity
                if not answer.skipped:
                    self._undelivered[answer.path] = (number, answer)

    def _import(self) -> None:
        """Take over a journal of JSON lines, if there is one."""
        sources = {self._beside(".importing"): self._beside(".imported")}
        if self.path.name == DEFAULT_NAME:
            old = self.path.with_name(OLD_DEFAULT_NAME)
            sources[old] = old.with_name(f"{old.name}.imported")
        for source, imported in sources.items():
            try:
                handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                continue
            with os.fdopen(handle, "rb") as file:
                lock_old(handle, shown(source))
                try:
                    folder, rows = read_old_journal(self._lines(file))
                except ValueError as error:
                    raise self._refused(str(error), source) from error
                if not folder:  # empty: it was never begun
                    continue
                self._check_folder(folder)
                self._create(rows)
            source.rename(imported)
            return

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        """The lines of a file; a longer one comes in parts, which are no JSON."""
        for line in iter(lambda: file.readline(_MAX_OLD_LINE_BYTES), b""):
            if not self._keep_going():
                raise WatchError(f"{self._name}: the import of the older journal was stopped; start again")
            yield line
