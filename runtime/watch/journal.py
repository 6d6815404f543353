"""The journal of a watch: an SQLite file that holds which images were answered, and with what.

    meta     one row: version, folder
    answers  one row an answer, in order: number, path, identity, answer, moved_to, delivered

An image is answered when its row is committed (write-ahead log, `synchronous=FULL`, one transaction an answer), before
the answer is printed. So a kill, or a loss of power, leaves each image with one answer or none, and an image without
one is answered at the next start. `delivered` is set after the answer was printed and its command has run. That change
is not synced: an answer that is not marked is delivered again at the next start, so each is delivered at least once.

A queue of outgoing events can join as a third table, `events(number INTEGER PRIMARY KEY, answer INTEGER NOT NULL
REFERENCES answers(number), output, attempts)`. Its rows belong into the transaction of their answer, and compaction
must then keep the answers that an event refers to. JOURNAL_VERSION is 2 from then on.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WatchError
from ..files import shown
from .journal_file import APPLICATION_ID, JOURNAL_VERSION, SCHEMA, Answer, Identity, JournalFile, is_old_journal
from .old_journal import OLD_DEFAULT_NAME, JournalRow, read_old_journal

if TYPE_CHECKING:
    import sqlite3

DEFAULT_NAME = ".pocketlens-watch.sqlite"
#: The newest answers that stay in the journal even if their files are gone.
KEPT_ANSWERS = 10_000
#: A watch locks this byte; SQLite itself locks the 512 bytes from 0x40000000 on.
_LOCKED_BYTE = 0x40000400


class Journal(JournalFile):
    """The journal of one folder's watch, locked while it is open; a context manager.

    A journal of JSON lines, which earlier versions wrote, is imported once: one at `path` itself is renamed to
    `*.imported` and an SQLite file takes its place; one called `.pocketlens-watch.jsonl` is taken over by a new
    journal of the default name beside it.

    Args:
        path: the file; created if it is missing.
        folder: the folder that is watched.

    Attributes:
        is_new: whether `begin` was never called for it.

    Raises:
        WatchError: the journal is locked by another watch, is damaged, belongs to another folder, or cannot be read
            or written; or this Python has no sqlite3.
    """

    def __init__(self, path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
        super().__init__(path, folder)
        self._wal = self.path.with_name(f"{self.path.name}-wal")
        self._answered: dict[str, Identity] = {}
        self._undelivered: dict[str, tuple[int, Answer]] = {}
        self._count = 0
        with ExitStack() as resources, self._errors_of("opened"):
            self._handle = self._open_and_lock(resources)
            self._connection = self._connect(resources, "?mode=rw")
            self.is_new = not self._is_begun(self._connection)
            if self._connection.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
                raise self._sqlite.OperationalError("its file system cannot share memory between processes")
            self._connection.execute("PRAGMA synchronous=FULL")
            if self.is_new:
                self._import()
            else:
                self._load()
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
        with self._transaction():
            number = self._insert(answer, delivered=False)
        self._count += 1
        self._answered[answer.path] = answer.identity
        self._undelivered[answer.path] = (number, answer)

    def mark_delivered(self, path: str, moved_to: str | None = None) -> None:
        """Record that the last answer to this image was delivered, and to where the image was moved."""
        number, _ = self._undelivered[path]
        place = None if moved_to is None else os.fsencode(moved_to)
        self._connection.execute("PRAGMA synchronous=NORMAL")  # the next answer's commit syncs this one too
        try:
            with self._transaction():
                self._connection.execute(
                    "UPDATE answers SET delivered = 1, moved_to = ? WHERE number = ?", (place, number)
                )
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")
        del self._undelivered[path]

    def compact_if_long(self, present: Collection[str]) -> bool:
        """Once there are twice as many answers as needed, drop old ones whose images are not among `present`."""
        if self._count < 2 * max(KEPT_ANSWERS, len(present)):
            return False
        with self._transaction() as connection:
            newest = dict(connection.execute("SELECT path, max(number) FROM answers GROUP BY path"))
            needed = {newest.get(os.fsencode(path)) for path in present}
            old = connection.execute(
                "SELECT number FROM answers WHERE delivered AND number <= (SELECT max(number) FROM answers) - ?",
                (KEPT_ANSWERS,),
            ).fetchall()
            dropped = [row for row in old if row[0] not in needed]
            connection.executemany("DELETE FROM answers WHERE number = ?", dropped)
        self._load()
        return True

    def _open_and_lock(self, resources: ExitStack) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            handle = os.open(self.path, flags, 0o644)
            with ExitStack() as failed:
                failed.callback(os.close, handle)
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise WatchError(f"{self._name}: not a regular file; name another journal with `journal`")
                if is_old_journal(os.pread(handle, 64, 0)):
                    _lock_old(handle, self._name)
                    if _is_at(handle, self.path):
                        self.path.rename(self._beside(".importing"))
                    continue
                _lock(handle, self._name)
                if not _is_at(handle, self.path):
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

    def _insert(self, answer: Answer, *, delivered: bool, moved_to: str | None = None) -> int:
        values = (
            os.fsencode(answer.path),
            " ".join(map(str, answer.identity)),
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
                answer = self._answer(*values)
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
                _lock_old(handle, shown(source))
                try:
                    folder, rows = read_old_journal(file)
                except ValueError as error:
                    raise self._refused(str(error), source) from error
                if not folder:  # empty: it was never begun
                    continue
                self._check_folder(folder)
                self._create(rows)
            source.rename(imported)
            return


def _lock(handle: int, name: str) -> None:
    """Lock a journal's byte until its handle is closed.

    It is a lock of the open file description. SQLite's own locks, which belong to the process, do not touch it, and it
    works where `flock` stands for a lock of the whole file, as on NFS.
    """
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, lock)
    except (BlockingIOError, PermissionError) as error:
        raise _in_use(name) from error


def _lock_old(handle: int, name: str) -> None:
    """Refuse a journal of JSON lines that a watch of an earlier version is writing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _in_use(name) from error


def _in_use(name: str) -> WatchError:
    return WatchError(f"{name}: another watch is using this journal; stop it, or name another with `journal`")


def _is_at(handle: int, path: Path) -> bool:
    """Whether a path still names the file behind a handle."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Put a folder's names on the disk, where its file system can."""
    handle = os.open(folder, os.O_RDONLY)
    with suppress(OSError):
        os.fsync(handle)
    os.close(handle)
