"""Locking a journal against a second watch, and putting names on the disk."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

from ..errors import WatchError

#: A watch locks this byte; SQLite itself locks the 512 bytes from 0x40000000 on.
_LOCKED_BYTE = 0x40000400


def lock(handle: int, name: str) -> None:
    """Lock a journal's byte until its handle is closed.

    It is a lock of the open file description. SQLite's own locks, which belong to the process, do not touch it, and it
    works where `flock` stands for a lock of the whole file, as on NFS.
    """
    region = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, region)
    except (BlockingIOError, PermissionError) as error:
        raise _in_use(name) from error


def lock_old(handle: int, name: str) -> None:
    """Refuse a journal of JSON lines that a watch of an earlier version is writing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _in_use(name) from error


def _in_use(name: str) -> WatchError:
    return WatchError(f"{name}: another watch is using this journal; stop it, or name another with `journal`")


def is_at(handle: int, path: Path) -> bool:
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
