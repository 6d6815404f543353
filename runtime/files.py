"""Reads bytes from outside: regular files only, never more than a limit, one kind of error. Writes files whole."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from .errors import PocketlensError

if TYPE_CHECKING:
    from pathlib import Path

#: The file name that stands for standard input.
STANDARD_INPUT = "-"
#: How messages name an image that was given as bytes.
BYTES_NAME = "image (bytes)"

_STANDARD_INPUT_NUMBER = 0

#: Names, in lower case, of files and folders that systems and storage devices leave among those of people.
SYSTEM_NAMES = frozenset(
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "lost+found", "__pycache__", "icon\r"),
    )
)

PathLike: TypeAlias = str | os.PathLike[str]


def shown(path: object) -> str:
    """A path that can be printed anywhere: undecodable bytes and control characters are escaped."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else str(path)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def is_hidden_name(name: str) -> bool:
    """Whether a file or folder is no person's: its name begins with a dot, or is in `SYSTEM_NAMES`."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def read_regular_file(
    path: PathLike, limit: int, error: type[PocketlensError], reserve: Callable[[int], None] | None = None
) -> tuple[bytes, str]:
    """The bytes of a regular file and its name for messages.

    Args:
        path: the file.
        limit: the largest number of bytes.
        error: the class of errors.
        reserve: called with the number of bytes before they are read.

    Raises:
        error: missing, unreadable, not a regular file, or larger than `limit` bytes.
    """
    name = shown(path)
    with open_regular_file(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        if reserve is not None:
            reserve(min(size, limit))
        return read_stream(file, limit, error, name, expected=size), name


def open_regular_file(path: PathLike, error: type[PocketlensError]) -> io.FileIO:
    """A regular file, open for reading.

    It is opened without blocking and checked after opening, so that a pipe or a device in its place can neither hang
    the caller nor be read.

    Raises:
        error: missing, unreadable, or not a regular file.
    """
    name = shown(path)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError, TypeError) as problem:
        raise error(f"{name}: cannot be opened: {getattr(problem, 'strerror', None) or problem}") from problem
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise error(f"{name}: not a regular file; folders, pipes and devices are not read")
    return io.FileIO(handle)


def read_file_object(file: BinaryIO | Any, limit: int, error: type[PocketlensError], name: str) -> bytes:
    """The bytes of a caller's file object, from where it stands; one that stands at its end is read from its start.

    A buffer that an image was just saved to stands at its end. Standard input is never rewound: a loop that reads it
    until it is empty would never end.

    Raises:
        error: as `read_stream` does.
    """
    data = read_stream(file, limit, error, name)
    return data if data or not _rewind(file) else read_stream(file, limit, error, name)


def _rewind(file: Any) -> bool:
    """Go back to the start of a file object; returns whether that was possible."""
    try:
        if file.fileno() == _STANDARD_INPUT_NUMBER:
            return False
    except Exception:
        pass
    try:
        if not file.seekable():
            return False
        file.seek(0)
    except Exception:  # the caller's object may lack the methods, and may raise anything
        return False
    return True


def read_stream(
    file: BinaryIO | Any, limit: int, error: type[PocketlensError], name: str, *, expected: int | None = None
) -> bytes:
    """All the bytes of a binary file object.

    Args:
        expected: the number of bytes, if it is known: a buffer for `limit` bytes takes time to allocate.

    Raises:
        error: it cannot be read, gives something other than bytes, or holds more than `limit` bytes.
    """
    chunks: list[bytes] = []
    left = limit + 1
    wanted = left if expected is None else min(expected + 1, left)
    while left > 0:
        try:
            chunk = file.read(wanted)
        except Exception as problem:  # the caller's object may raise anything
            raise error(f"{name}: cannot be read: {problem}") from problem
        if not isinstance(chunk, bytes):
            raise error(f"{name}: gives {type(chunk).__name__}, expected bytes; open it in binary mode")
        if not chunk:
            break
        chunks.append(chunk)  # a raw stream may give fewer bytes than requested
        left -= len(chunk)
        if expected is not None and len(chunk) < wanted:  # a regular file ends here
            break
        wanted = min(left, 2**20)
    if left <= 0:
        raise error(f"{name}: larger than {limit // 2**20} MiB, the limit")
    return b"".join(chunks)


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a temporary file beside the target, then rename it; missing folders are created.

    Args:
        path: the target.
        content: all that it will hold.
        durable: return once the file and its name are on the disk, so that a power loss cannot take them away.

    Raises:
        OSError: the file cannot be written; an existing file is untouched.
    """
    import tempfile  # here: most commands write nothing

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.partial-", delete=False) as file:
        partial = path.with_name(os.path.basename(file.name))  # noqa: PTH119 - no pathlib at the start of `classify`
        try:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
            file.close()
            partial.chmod(0o644)
            partial.replace(path)
        except OSError as error:
            error.filename = error.filename or str(path)  # to write and to flush know no name
            raise
        finally:
            partial.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: PathLike) -> None:
    """Put a folder's names on the disk, where its file system can."""
    handle = os.open(folder, os.O_RDONLY)
    with suppress(OSError):
        os.fsync(handle)
    os.close(handle)
