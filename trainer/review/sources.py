"""Where pictures are collected: a folder, or a folder of another machine that rsync reads over ssh.

A device may be in other hands. Its names are accepted only if they are plain, files only if they are regular and of a
bounded size, and nothing of it is followed, run or written anywhere but in the partial folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from runtime import PocketlensError
from runtime.files import is_hidden_name, read_regular_file, shown
from runtime.image_formats import SUFFIXES
from runtime.image_limits import MAX_IMAGE_BYTES

from .note import MAX_NOTE_BYTES, NOTE_SUFFIX

#: Files of a source that are looked at, folders within folders, and letters of a file's path.
MAX_FILES, MAX_DEPTH, MAX_PATH = 200_000, 8, 1024
_REMOTE = re.compile(r"(?P<host>[^/:\[\]]*(?:\[[^\]/]*\])?):(?P<path>.*)", re.DOTALL)
_NAME = r"[A-Za-z0-9_.][A-Za-z0-9_.-]*"
_HOST = re.compile(rf"(?:{_NAME}@)?(?:{_NAME}|\[[0-9A-Za-z:.%]+\])")


class CollectError(PocketlensError, OSError):
    """Pictures cannot be collected: the source cannot be read, or the review folder cannot be written or is in use."""


class Listed(NamedTuple):
    """A picture of a source.

    Attributes:
        path: its path within the source, with `/` between its parts.
        size: its bytes, as the source says.
        has_note: whether a note lies beside it.
    """

    path: str
    size: int
    has_note: bool

    @property
    def note_path(self) -> str:
        """The path of the note."""
        return f"{self.path.rpartition('.')[0]}{NOTE_SUFFIX}"


class PictureSource(Protocol):
    """A place from which pictures are collected.

    Attributes:
        name: as the user wrote it, printable.
        device: the name of the device for pictures whose note names none.
    """

    name: str
    device: str

    def pictures(self) -> tuple[list[Listed], int]:
        """The pictures in the order of their paths, and how many other files were passed over."""

    def fetch(self, wanted: Sequence[Listed]) -> Iterator[tuple[Listed, bytes | None, bytes]]:
        """Each picture's bytes and its note's; None for a picture that could not be read."""


def split_remote(text: str) -> tuple[str, str] | None:
    """Host and path of a source such as `pi@door:/var/lib/door`; None for a path of this machine.

    Raises:
        CollectError: the host or the path could be taken for an option, or is no name.
    """
    found = _REMOTE.fullmatch(text)
    if found is None:
        if text.startswith("-"):
            raise CollectError(f"{shown(text)}: begins with '-'; write ./{shown(text)} for a folder of that name")
        return None
    host, path = found["host"], found["path"]
    if path.startswith((":", "//")):
        raise CollectError(f"{shown(text)}: servers of rsync and other addresses are not read; write HOST:PATH for ssh")
    if not _HOST.fullmatch(host):
        raise CollectError(f"{shown(text)}: {shown(host)!r} is no name of a host; write USER@HOST:PATH")
    if not path or path.startswith("-") or not path.isprintable():
        raise CollectError(f"{shown(text)}: {shown(path)!r} is no folder there; write its whole path, as HOST:/PATH")
    return host, path


class FolderSource:
    """A folder of this machine, such as a USB stick; a `PictureSource`. Links in it are not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = shown(folder)
        self.device = folder.resolve().name

    def pictures(self) -> tuple[list[Listed], int]:
        if not self._folder.is_dir():
            raise CollectError(f"{self.name}: no such folder; write HOST:PATH for a folder of another machine")
        return pair_up(self._files())

    def _files(self) -> Iterator[tuple[str, int]]:
        def refuse(error: OSError) -> None:
            raise CollectError(f"{shown(error.filename or self._folder)}: cannot be read: {error.strerror}") from error

        for parent, folders, names in os.walk(self._folder, onerror=refuse):
            below = Path(parent).relative_to(self._folder)
            folders[:] = sorted(name for name in folders if not is_hidden_name(name)) * (len(below.parts) < MAX_DEPTH)
            for name in names:
                state = (Path(parent) / name).lstat()
                yield (below / name).as_posix(), state.st_size if stat.S_ISREG(state.st_mode) else -1

    def fetch(self, wanted: Sequence[Listed]) -> Iterator[tuple[Listed, bytes | None, bytes]]:
        return read_files(self._folder, wanted)


def pair_up(files: Iterator[tuple[str, int]]) -> tuple[list[Listed], int]:
    """The pictures among files, each with whether its note is among them too; and how many files are neither.

    Args:
        files: paths and sizes; a negative size is that of something else than a file.

    Raises:
        CollectError: there are too many.
    """
    sizes: dict[str, int] = {}
    count = 0
    for path, size in files:
        count += 1
        if count > MAX_FILES:
            raise CollectError(f"more than {MAX_FILES:,} files, the limit; collect its folders one after the other")
        if size >= 0 and is_safe_path(path):
            sizes[path] = size
    listed = []
    for path, size in sorted(sizes.items()):
        if path.lower().endswith(SUFFIXES) and 0 < size <= MAX_IMAGE_BYTES:
            one = Listed(path, size, has_note=False)
            listed.append(one._replace(has_note=0 < sizes.get(one.note_path, 0) <= MAX_NOTE_BYTES))
    return listed, count - len(listed) - sum(one.has_note for one in listed)


def is_safe_path(path: str) -> bool:
    """Whether a path stays below its folder, is printable and not hidden."""
    parts = path.split("/")
    return (
        len(path) <= MAX_PATH
        and len(parts) <= MAX_DEPTH + 1
        and path.isprintable()
        and "\\" not in path
        and not any(not part or part.startswith(("-", ".")) or is_hidden_name(part) for part in parts)
    )


def read_files(folder: Path, wanted: Sequence[Listed]) -> Iterator[tuple[Listed, bytes | None, bytes]]:
    """The bytes of pictures in a folder and those of their notes, as `PictureSource.fetch` gives them."""
    for one in wanted:
        picture = _read(folder, one.path, MAX_IMAGE_BYTES)
        note = _read(folder, one.note_path, MAX_NOTE_BYTES) if one.has_note else b""
        yield one, picture, note or b""


def _read(folder: Path, path: str, limit: int) -> bytes | None:
    """A regular file's bytes, reached through no link; None if there is none."""
    place = folder
    for part in path.split("/"):
        place = place / part
        if place.is_symlink():
            return None
    try:
        return read_regular_file(place, limit, CollectError)[0]
    except CollectError:
        return None
