"""What a journal of a watch holds, and reading it: the answers, the tables, and what is checked before use."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ..errors import WatchError
from ..files import shown
from ..postprocessing import Prediction

if TYPE_CHECKING:
    import sqlite3

JOURNAL_VERSION = 1
#: Marks an SQLite file as ours: "PLWA".
APPLICATION_ID = 0x504C5741
SCHEMA = (
    "CREATE TABLE meta (version INTEGER NOT NULL, folder BLOB NOT NULL)",
    # Names are bytes, as a file's name need not be text; the numbers of an identity can exceed 63 bits.
    "CREATE TABLE answers (number INTEGER PRIMARY KEY, path BLOB NOT NULL, identity TEXT NOT NULL, answer TEXT, "
    "moved_to BLOB, delivered INTEGER NOT NULL)",
    "CREATE TABLE commands (answer INTEGER PRIMARY KEY, attempts INTEGER NOT NULL, retry_at REAL NOT NULL)",
    "CREATE TABLE moves (answer INTEGER PRIMARY KEY)",
    "CREATE TABLE begun (path BLOB NOT NULL, identity TEXT NOT NULL, deaths INTEGER NOT NULL)",
)
_HISTORY_ROWS = 500
_OLD_START = b'{"format": "pocketlens-watch", "version": 1,'


class Identity(NamedTuple):
    """What tells a file from another one of the same name: bytes, time of the last change, number on its disk."""

    size: int
    mtime_ns: int
    inode: int

    def __str__(self) -> str:
        return " ".join(map(str, self))


@dataclass(frozen=True)
class Answer:
    """The model's answer to one image.

    Attributes:
        path: below the watched folder, with `/` between the parts.
        identity: the file that was read.
        predictions: best first; empty if there is an error.
        error: why the image could not be read, or "".
        skipped: the image was there before the watch began, and is not answered on purpose.
    """

    path: str
    identity: Identity
    predictions: tuple[Prediction, ...] = ()
    error: str = ""
    skipped: bool = False

    def as_dict(self) -> dict[str, Any]:
        """`{"predictions": [...]}` or `{"error": ...}`, for JSON."""
        return {"error": self.error} if self.error else {"predictions": [p.as_dict() for p in self.predictions]}

    @classmethod
    def from_dict(cls, path: str, identity: Identity, record: Mapping[str, Any]) -> Answer:
        """Read back what `as_dict` gave, or `{"skipped": true}`.

        The journal may lie where strangers write, so every value is checked.

        Raises:
            ValueError, KeyError, TypeError: it is no answer.
        """
        if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise ValueError(f"{path!r} is not below the folder")
        if ("predictions" in record) + ("error" in record) + ("skipped" in record) != 1:
            raise ValueError("not exactly one of predictions, error and skipped")
        try:
            predictions = tuple(
                Prediction(typed(p["label"], str), float(p["score"]), typed(p["index"], int))
                for p in record.get("predictions", ())
            )
        except OverflowError as error:
            raise ValueError(f"a score is no number of double precision: {error}") from error
        return cls(path, identity, predictions, typed(record.get("error", ""), str), "skipped" in record)


def typed(value: Any, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def answer_from_row(path: bytes, identity: str, answer: str | None) -> Answer:
    """The answer in a row of the table.

    Raises:
        ValueError, KeyError, TypeError: the row holds no answer.
    """
    record = {"skipped": True} if answer is None else json.loads(answer)
    return Answer.from_dict(os.fsdecode(path), Identity(*map(int, identity.split())), record)


def is_old_journal(content: bytes) -> bool:
    """Whether a file that starts with these bytes is a journal of JSON lines, which earlier versions wrote."""
    return content.startswith(_OLD_START)


class JournalFile:
    """What reading and writing a journal share: the connection, the errors, and the checks of the content."""

    def __init__(self, path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
        try:
            import sqlite3  # here: no other command needs it
        except ImportError as error:
            raise WatchError(
                "this Python was built without sqlite3, in which `pocketlens watch` keeps its journal; "
                "use the system's Python, or one built with SQLite"
            ) from error
        self._sqlite = sqlite3
        self.path = Path(path)
        self._folder = Path(folder).resolve()
        self._name = shown(self.path)

    def _connect(self, resources: ExitStack, parameters: str) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):  # the last two are SQLite's own, and may be missing
            path = Path(f"{self.path}{suffix}")
            if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
                raise WatchError(f"{shown(path)}: not a regular file; name another journal with `journal`")
        where = f"file:{quote(os.fsencode(self.path.absolute()))}{parameters}"
        connection = self._sqlite.connect(where, uri=True, isolation_level=None)
        resources.callback(connection.close)
        connection.text_factory = lambda text: text.decode(errors="replace")
        connection.execute("PRAGMA trusted_schema=OFF")
        return connection

    @contextmanager
    def _errors_of(self, action: str) -> Iterator[None]:
        """Turn SQLite's and the system's errors into a line with a cure."""
        cure = "make room, then start again" if action == "written" else "name another place with `journal`"
        try:
            yield
        except (self._sqlite.OperationalError, OSError) as error:
            if isinstance(error, WatchError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise WatchError(f"{self._name}: the journal cannot be {action}: {reason}; {cure}") from error
        except (self._sqlite.DatabaseError, ValueError, KeyError, TypeError, RecursionError) as error:
            no_journal = "not a database" in str(error)
            raise self._refused("no journal of `pocketlens watch`" if no_journal else "damaged") from error

    def _refused(self, problem: str, path: Path | None = None) -> WatchError:
        return WatchError(
            f"{shown(path or self.path)}: {problem}; move it away to begin anew, which answers every image in the "
            "folder again"
        )

    def _is_begun(self, connection: sqlite3.Connection) -> bool:
        """Whether it is a journal of this folder, and whole; False if nothing was written to it yet.

        Raises:
            WatchError: it is something else.
        """
        tables = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master ORDER BY rowid")]
        if not tables:
            return False
        if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise self._refused("no journal of `pocketlens watch`")
        if SCHEMA[0] not in tables:
            raise self._refused("damaged")
        version, folder = connection.execute("SELECT version, folder FROM meta").fetchone()
        if version != JOURNAL_VERSION:
            raise WatchError(f"{self._name}: version {version!r}, expected {JOURNAL_VERSION}; upgrade Pocketlens")
        # A trigger or a view in a stranger's file would run with each answer.
        if tuple(tables) != SCHEMA or connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise self._refused("damaged")
        self._check_folder(os.fsdecode(folder))
        return True

    def _check_folder(self, folder: str) -> None:
        # A journal in its own folder moves with it; elsewhere, its paths mean nothing without the folder's name.
        if folder != str(self._folder) and self.path.resolve().parent != self._folder:
            raise WatchError(f"{self._name}: the journal of {shown(folder)}; name another one with `journal`")


class History(JournalFile):
    """The answers in a journal, to be read even while a watch writes; iterate over it.

    Args:
        path: the journal.
        folder: the folder that is watched.

    Raises:
        WatchError: there is no journal, it is damaged or belongs to another folder; or this Python has no sqlite3.
    """

    def __iter__(self) -> Iterator[tuple[Answer, str | None]]:
        """Each answer in order, and to where its image was moved; images that were skipped have none."""
        with ExitStack() as resources, self._errors_of("read"):
            self._check_file()
            connection = self._open(resources)
            last = 0 if self._is_begun(connection) else None
            while last is not None:
                # In parts: while a read lasts, the write-ahead log can only grow.
                rows = connection.execute(
                    "SELECT number, moved_to, path, identity, answer FROM answers "
                    "WHERE number > ? ORDER BY number LIMIT ?",
                    (last, _HISTORY_ROWS),
                ).fetchall()
                last = None
                for number, moved_to, *values in rows:
                    last = number
                    answer = answer_from_row(*values)
                    if not answer.skipped:
                        yield answer, None if moved_to is None else os.fsdecode(moved_to)

    def _check_file(self) -> None:
        if not os.path.lexists(self.path):
            raise WatchError(
                f"{self._name}: there is no journal: nothing was watched here yet; if it lies elsewhere, name it with "
                "`journal`"
            )
        with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if is_old_journal(file.read(64) or b""):
                raise WatchError(f"{self._name}: a journal of an earlier version; start the watch once to import it")

    def _open(self, resources: ExitStack) -> sqlite3.Connection:
        """A connection that only reads; as the last one it clears away SQLite's own files, where it may."""
        for parameters in ("?mode=rw", "?immutable=1"):  # the second: in a folder that is not ours to write to
            connection = self._connect(resources, parameters)
            try:
                connection.execute("PRAGMA query_only=ON")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return connection
            except self._sqlite.OperationalError:
                if os.path.lexists(f"{self.path}-wal") or "immutable" in parameters:
                    raise
        raise AssertionError("the second way returns or raises")
