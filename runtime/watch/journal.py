"""The record of a watch: which images were answered, and with what.

A file of JSON lines that grows at its end:

    {"format": "pocketlens-watch", "version": 1, "folder": "/srv/in"}
    {"path": "a.jpg", "size": 912, "mtime_ns": 1718000000000000000, "inode": 77, "predictions": [...]}
    {"told": "a.jpg", "moved_to": "/srv/out/cat/a.jpg"}

An image is answered when its line is whole in this file: one write, then fdatasync, before anybody hears of it. So a
kill, or a loss of power, leaves each image with one answer or none, and one without is answered at the next start. The
mark `told` follows when the answer was printed and its command has run; it is not synced. An answer without its mark is
told again at the next start, so those are told at least once.

Lines are never changed. When there are many, the file is written anew beside itself and renamed: the last `KEPT_LINES`
stay as they are, and of older ones those of files that are still in the folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import WatchError
from ..files import shown
from .entries import Entry, Identity, place_of, typed

FORMAT = "pocketlens-watch"
VERSION = 1
DEFAULT_NAME = ".pocketlens-watch.jsonl"
#: Lines that stay whatever became of their files; two an image.
KEPT_LINES = 20_000
_MAX_LINE_BYTES = 4 * 2**20


class Journal:
    """The record of one folder's watch, locked while it is open; a context manager.

    Args:
        path: the file, made where it is missing.
        folder: the folder that is watched.

    Raises:
        WatchError: locked by another watch, damaged, of another folder, or it cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._folder = Path(folder).resolve()
        self._answered: dict[str, Identity] = {}
        self._untold: dict[str, Entry] = {}
        self._lines = 0
        self._fd = self._locked()
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._fd)

    @property
    def is_new(self) -> bool:
        """Whether it was never begun."""
        return self._lines == 0

    def begin(self, skipped: Mapping[str, Identity]) -> None:
        """Write the first line, and that these files are not to be answered; all of it or nothing."""
        header = {"format": FORMAT, "version": VERSION, "folder": str(self._folder)}
        entries = [Entry(path, identity, skipped=True).as_dict() for path, identity in skipped.items()]
        self._rewrite(_line(record) for record in (header, *entries))
        self._answered = dict(skipped)

    def has(self, path: str, identity: Identity) -> bool:
        """Whether this very file was answered."""
        return self._answered.get(path) == identity

    def untold(self) -> list[Entry]:
        """Answers that may not have been told."""
        return [*self._untold.values()]

    def add(self, entry: Entry) -> None:
        """Record an answer; when this returns, it is on the disk.

        Raises:
            WatchError: it could not be written; the image is not answered then.
        """
        self._append(entry.as_dict(), sync=True)
        self._answered[entry.path] = entry.identity
        self._untold[entry.path] = entry

    def told(self, path: str, moved_to: str | None = None) -> None:
        """Mark that an answer was told."""
        self._append({"told": path} if moved_to is None else {"told": path, "moved_to": moved_to}, sync=False)
        self._untold.pop(path, None)

    def compact_if_long(self, present: Collection[str]) -> bool:
        """Drop old lines of files that are not among `present`, once there are twice as many as need be."""
        if self._lines < 2 * max(KEPT_LINES, 2 * len(present)):
            return False
        newest: dict[str, int] = {}
        marked: dict[str, int] = {}
        for number, line in enumerate(self._raw_lines()):
            record = json.loads(line)
            if "told" in record:
                marked[record["told"]] = number
            elif "path" in record:
                newest[record["path"]] = number
        first = self._lines - KEPT_LINES
        needed = {0} | {places[path] for path in present for places in (newest, marked) if path in places}
        needed |= {newest[path] for path in self._untold}
        self._rewrite(line for number, line in enumerate(self._raw_lines()) if number >= first or number in needed)
        kept = {path for path, number in newest.items() if number >= first or number in needed}
        self._answered = {path: identity for path, identity in self._answered.items() if path in kept}
        return True

    def _locked(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            try:
                handle = os.open(self.path, flags, 0o644)
            except OSError as error:
                raise self._failed("opened", error) from error
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise WatchError(f"{shown(self.path)}: not a regular file; name another journal with --journal")
                self._lock(handle)
                # Another watch may have renamed a new journal into its place before we had the lock.
                if os.path.samestat(os.fstat(handle), os.stat(self.path)):  # noqa: PTH116 - beside fstat
                    return handle
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            name = shown(self.path)
            raise WatchError(
                f"{name}: another watch is using this journal; stop it, or name another with --journal"
            ) from error
        except OSError as error:
            raise self._failed("locked", error) from error

    def _failed(self, what: str, error: OSError) -> WatchError:
        cure = "name another place with --journal" if what != "written" else "make room, then start again"
        return WatchError(f"{shown(self.path)}: the journal cannot be {what}: {error.strerror}; {cure}")

    def _raw_lines(self) -> Iterator[bytes]:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            yield from iter(lambda: file.readline(_MAX_LINE_BYTES), b"")

    def _load(self) -> None:
        """Read every line; cut off a last one that a kill left unfinished."""
        whole = torn = 0
        unmarked: dict[str, Any] = {}
        for number, line in enumerate(self._raw_lines(), 1):
            try:
                self._interpret(line, number, unmarked)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                torn = torn or number
                continue
            if torn:
                raise self._damaged(torn)
            whole += len(line)
            self._lines = number
        if torn == 1:  # never torn: the first line came by rename
            raise self._damaged(torn)
        if torn:
            os.ftruncate(self._fd, whole)
        try:
            self._untold = {path: Entry.from_dict(record) for path, (_, record) in unmarked.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(next(number for number, _ in unmarked.values())) from error

    def _damaged(self, line: int) -> WatchError:
        hint = "no journal of `pocketlens watch`" if line == 1 else f"line {line} is damaged"
        return WatchError(
            f"{shown(self.path)}: {hint}; move it away to begin anew, which answers every image in the folder again"
        )

    def _interpret(self, line: bytes, number: int, unmarked: dict[str, Any]) -> None:
        """Take in a line; `unmarked`: answers without their mark, with the number of their line."""
        if not line.endswith(b"\n"):
            raise ValueError("unfinished")
        record = json.loads(line)
        if number == 1:
            self._check_header(record)
        elif "told" in record:
            unmarked.pop(typed(record["told"], str), None)
        else:
            path, identity = place_of(record)
            self._answered[path] = identity
            if "skipped" not in record:
                unmarked[path] = number, record

    def _check_header(self, record: Mapping[str, Any]) -> None:
        if record["format"] != FORMAT:
            raise ValueError("another format")
        name = shown(self.path)
        if record["version"] != VERSION:
            raise WatchError(f"{name}: version {record['version']!r}, expected {VERSION}; upgrade Pocketlens")
        # A journal that lies in its folder moves with it; another one's paths mean nothing without the folder's name.
        if record["folder"] != str(self._folder) and self.path.resolve().parent != self._folder:
            raise WatchError(f"{name}: the journal of {shown(str(record['folder']))}; name another one with --journal")

    def _append(self, record: Mapping[str, Any], *, sync: bool) -> None:
        line, state = _line(record), os.fstat(self._fd)
        if state.st_nlink == 0:
            raise WatchError(f"{shown(self.path)}: the journal was removed while in use; start again")
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(0, "no room for a whole line")
            if sync:
                os.fdatasync(self._fd)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, state.st_size)
            raise self._failed("written", error) from error
        self._lines += 1

    def _rewrite(self, lines: Iterable[bytes]) -> None:
        """Write these lines beside the journal, lock them, and put them in its place."""
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            with suppress(FileNotFoundError):
                beside.unlink()
            handle = os.open(beside, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                count = 0
                with os.fdopen(os.dup(handle), "wb") as file:
                    for line in lines:
                        file.write(line)
                        count += 1
                os.fsync(handle)
                self._lock(handle)
                beside.rename(self.path)
            except BaseException:
                os.close(handle)
                raise
            sync_folder(self.path.parent)
        except OSError as error:
            if isinstance(error, WatchError):
                raise
            raise self._failed("written", error) from error
        os.close(self._fd)
        self._fd, self._lines = handle, count


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Put a folder's names on the disk, where its file system can."""
    handle = os.open(folder, os.O_RDONLY)
    with suppress(OSError):
        os.fsync(handle)
    os.close(handle)


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"
