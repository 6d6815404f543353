"""Folders of pictures that are bounded in bytes, written whole or not at all, and never beside the folder."""

from __future__ import annotations

import os
import re
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from ..errors import describe
from ..files import shown
from ..watch.sorter import plain_name
from .event import Event
from .sink import OutputError, Sink

_TEMPORARY = ".pocketlens-writing"
_SNAPSHOT = re.compile(r"\d{8}T\d{6}\.\d{3}Z-\d{6,}-.+\.jpg")
#: The longest name of a file is 255 bytes on most file systems.
_MAX_LABEL_BYTES = 100


class BoundFolder:
    """A folder in which files are written, read and removed by their names alone; links in it are not followed.

    It is opened anew each time, as it may lie on a disk that comes and goes.

    Args:
        path: the folder; it is made if it is missing.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The folder's handle; OSErrors of the block become an OutputError that names the folder."""
        try:
            Path(self.path).mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield handle
            finally:
                os.close(handle)
        except OSError as error:
            reason = error.strerror or describe(error)
            raise OutputError(
                f"{shown(self.path)}: pictures cannot be kept there: {reason}; make room or give access there, or name "
                "another folder"
            ) from error

    def files(self, names: re.Pattern[str]) -> list[tuple[str, int]]:
        """Names and sizes of the regular files that are called so, the oldest first."""
        found = []
        with self.opened() as folder:
            for name in os.listdir(folder):  # noqa: PTH208 - of a handle
                state = os.stat(name, dir_fd=folder, follow_symlinks=False) if names.fullmatch(name) else None
                if state is not None and stat.S_ISREG(state.st_mode):
                    found.append((state.st_mtime_ns, name, state.st_size))
        return [(name, size) for _, name, size in sorted(found)]

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; a link of that name is replaced, not followed."""
        with self.opened() as folder:
            with suppress(FileNotFoundError):
                os.unlink(_TEMPORARY, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                with os.fdopen(os.open(_TEMPORARY, flags, 0o644, dir_fd=folder), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(_TEMPORARY, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(OSError):
                    os.unlink(_TEMPORARY, dir_fd=folder)
                raise

    def read(self, name: str, limit: int) -> bytes:
        """The first bytes of a regular file."""
        with self.opened() as folder:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(handle, "rb") as file:
                return file.read(limit) or b""

    def remove(self, *names: str) -> None:
        """Remove files; one that is gone already is no error."""
        with self.opened() as folder:
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)


def file_stem(event: Event, mark: str) -> str:
    """The time in UTC, a mark and the label, as a file's name without its suffix.

    Example:
        >>> file_stem(Event(0.25, "door", "a/b", 0.9, 0.0, 1, None, {}), "000001")
        '19700101T000000.250Z-000001-a_b'
    """
    try:
        when = datetime.fromtimestamp(event.time, timezone.utc)
    except (OverflowError, ValueError, OSError):  # a clock that is far off
        when = datetime.fromtimestamp(0, timezone.utc)
    label = os.fsencode(plain_name(event.label))[:_MAX_LABEL_BYTES].decode(errors="ignore")
    return f"{when:%Y%m%dT%H%M%S}.{when.microsecond // 1000:03d}Z-{mark}-{label}"


class SnapshotSink(Sink):
    """Keeps the picture of each event in a folder, bounded in bytes: the oldest pictures go.

    Args:
        folder: the folder; files in it that are not called like snapshots stay.
        keep: bytes of all snapshots.
    """

    kind = "snapshots"
    takes_pictures = True

    def __init__(self, folder: str, keep: int) -> None:
        self.name = f"snapshots in {shown(folder)}"
        self._folder = BoundFolder(folder)
        self._keep = keep
        self._sizes: OrderedDict[str, int] | None = None

    def send(self, number: int, event: Event) -> None:
        if event.picture is None:
            return
        if len(event.picture) > self._keep:
            raise OutputError(
                f"{self.name}: a picture has {len(event.picture):,} bytes, and all of them may have {self._keep:,}; "
                "raise `keep`",
                attempts=1,
            )
        if self._sizes is None:
            self._sizes = OrderedDict(self._folder.files(_SNAPSHOT))
        name = f"{file_stem(event, f'{number:06d}')}.jpg"
        self._sizes.pop(name, None)
        self._make_room(self._keep - len(event.picture))
        try:
            self._folder.write(name, event.picture)
        except OutputError:
            self._sizes = None  # what lies there may have changed
            raise
        self._sizes[name] = len(event.picture)

    def _make_room(self, size: int) -> None:
        assert self._sizes is not None
        total = sum(self._sizes.values())
        while self._sizes and total > size:
            name, freed = self._sizes.popitem(last=False)
            total -= freed
            self._folder.remove(name)
