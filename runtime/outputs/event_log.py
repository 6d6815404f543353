"""The events that wait, on the disk: an SQLite file, so that neither a kill nor a restart loses one.

    events     one row an event: number, document (JSON), picture
    positions  one row an output: the number of the last event that it is done with; "" has the newest number

Commits wait for no disk: they are in the kernel's memory, which outlives a kill of the process. `sync` puts them on the
disk, through a connection of its own, so that no writer waits for it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import PocketlensError, describe
from ..files import shown
from .event import Event
from .event_queue import PictureBudget

if TYPE_CHECKING:
    import sqlite3

_log = logging.getLogger(__name__)

_NEWEST = ""
_TABLES = (
    "CREATE TABLE events (number INTEGER PRIMARY KEY, document TEXT NOT NULL, picture BLOB)",
    "CREATE TABLE positions (output TEXT PRIMARY KEY, last INTEGER NOT NULL)",
)


class EventLogError(PocketlensError, OSError):
    """The events cannot be kept on the disk.

    Args:
        message: one line: the thing, the value found, the cure.
        is_in_use: another process uses the file.
    """

    def __init__(self, message: str, *, is_in_use: bool = False) -> None:
        super().__init__(message)
        self.is_in_use = is_in_use


class EventLog:
    """The events that wait for outputs, on the disk; locked while it is open. All threads may use it.

    A damaged file is moved aside with a warning, and a new one is begun.

    Args:
        path: the file; its folder is made if it is missing, for the owner only.
        outputs: the names of the outputs; what waits for others is dropped.

    Attributes:
        last: the number of the newest event, 0 if there was none yet.

    Raises:
        EventLogError: the file cannot be written, or another process uses it.
    """

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        try:
            import sqlite3  # here: a Python may lack it, and most commands need none
        except ImportError as error:
            raise EventLogError(
                "this Python was built without sqlite3, in which waiting events are kept; use the system's Python"
            ) from error
        self._sqlite = sqlite3
        self._path = path
        self._writing = threading.Lock()
        self._pictures = PictureBudget()
        self._is_synced = True
        with ExitStack() as resources, self._errors():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock(resources)
            try:
                self._begin(resources, outputs)
            except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._move_aside(error)
                self._begin(resources, outputs)
            self._resources = resources.pop_all()

    def _lock(self, resources: ExitStack) -> None:
        lock = Path(f"{self._path}.lock")
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        resources.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EventLogError(
                f"{shown(self._path)}: another process keeps its events here; stop it, or name another folder with "
                "`state`",
                is_in_use=True,
            ) from error

    def _begin(self, resources: ExitStack, outputs: Sequence[str]) -> None:
        with ExitStack() as failed:
            self._writer = self._connect(failed)
            if not self._tables():
                self._create()
            if self._tables() != _TABLES or self._writer.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise ValueError("its content is not what was written")
            self.last = self._load(outputs)
            self._syncer = self._connect(failed)
            resources.push(failed.pop_all())

    def _connect(self, resources: ExitStack) -> sqlite3.Connection:
        where = f"file:{quote(os.fsencode(self._path.absolute()))}?mode=rwc"
        connection = self._sqlite.connect(where, uri=True, isolation_level=None, check_same_thread=False, timeout=10)
        resources.callback(connection.close)
        for setting in ("trusted_schema=OFF", "journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0"):
            connection.execute(f"PRAGMA {setting}")
        return connection

    def _tables(self) -> tuple[str, ...]:
        return tuple(sql for (sql,) in self._writer.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL"))

    def _create(self) -> None:
        with self._transaction():
            for table in _TABLES:
                self._writer.execute(table)
            self._writer.execute("INSERT INTO positions VALUES (?, 0)", (_NEWEST,))

    def _load(self, outputs: Sequence[str]) -> int:
        """Forget outputs that there are no longer, and what waited for them alone; returns the newest number."""
        names = (_NEWEST, *outputs)
        with self._transaction():
            (last,) = self._writer.execute("SELECT last FROM positions WHERE output = ?", (_NEWEST,)).fetchone()
            self._writer.execute(f"DELETE FROM positions WHERE output NOT IN ({', '.join('?' * len(names))})", names)
            # A new output is told what happens from now on.
            rows = [(name, last) for name in outputs]
            self._writer.executemany("INSERT OR IGNORE INTO positions VALUES (?, ?)", rows)
            self._remove_done()
        pictures = "SELECT number, length(picture) FROM events WHERE picture NOT NULL ORDER BY number"
        for number, size in self._writer.execute(pictures).fetchall():
            self._pictures.add(number, size)
        return int(last)

    def _move_aside(self, error: Exception) -> None:
        aside = Path(f"{self._path}.damaged")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        _log.warning(
            "warning: %s: damaged: %s; it is kept as %s, and the events that waited in it are not told",
            *(shown(self._path), describe(error), shown(aside)),
        )

    def pending(self, output: str) -> Iterator[tuple[int, Event]]:
        """The events that an output is not done with, in order.

        Raises:
            EventLogError: the file cannot be read.
        """
        with self._errors():
            (last,) = self._writer.execute("SELECT last FROM positions WHERE output = ?", (output,)).fetchone()
            rows = "SELECT number, document, picture FROM events WHERE number > ? ORDER BY number"
            for number, document, picture in self._writer.execute(rows, (last,)).fetchall():
                try:
                    yield number, Event.from_dict(json.loads(document), picture)
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    _log.warning("warning: %s: event %d is damaged: %s", shown(self._path), number, describe(error))

    def add(self, number: int, event: Event) -> None:
        """Keep an event until all outputs are done with it.

        Raises:
            EventLogError: it cannot be written.
        """
        values = (number, json.dumps(event.as_dict()), event.picture)
        with self._errors(), self._transaction():
            self._writer.execute("INSERT INTO events VALUES (?, ?, ?)", values)
            self._writer.execute("UPDATE positions SET last = ? WHERE output = ?", (number, _NEWEST))
            if event.picture is not None:
                losers = [(loser,) for loser in self._pictures.add(number, len(event.picture))]
                self._writer.executemany("UPDATE events SET picture = NULL WHERE number = ?", losers)

    def advance(self, output: str, number: int) -> None:
        """An output is done with the events up to this number.

        Raises:
            EventLogError: it cannot be written; a restart would tell the events again.
        """
        with self._errors(), self._transaction():
            self._writer.execute("UPDATE positions SET last = ? WHERE output = ?", (number, output))
            self._pictures.release(self._remove_done())

    def _remove_done(self) -> int:
        (done,) = self._writer.execute("SELECT min(last) FROM positions WHERE output <> ?", (_NEWEST,)).fetchone()
        self._writer.execute("DELETE FROM events WHERE number <= ?", (done,))
        return int(done)

    def sync(self) -> None:
        """Put what was written on the disk; nobody waits for it meanwhile.

        Raises:
            EventLogError: the disk fails.
        """
        if not self._is_synced:
            self._is_synced = True
            with self._errors():
                self._syncer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Put everything on the disk, and release the file."""
        with suppress(EventLogError):
            self.sync()
        self._resources.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing, self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            yield
            self._is_synced = False

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except EventLogError:
            raise
        except (OSError, self._sqlite.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise EventLogError(
                f"{shown(self._path)}: waiting events cannot be kept on the disk: {reason}; make room or give access "
                "there, or name another folder with `state`"
            ) from error
