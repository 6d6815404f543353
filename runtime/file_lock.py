"""A lock that a process holds on a file until it closes the file or dies."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path


def try_lock(handle: int, place: int = 0) -> bool:
    """Lock one byte of a file until its handle is closed; False if another process, or this one, has locked it.

    It is a lock of the open file description: locks that belong to the process, as SQLite's do, do not touch it, and
    it works where `flock` stands for a lock of the whole file, as on NFS.

    Args:
        handle: the file, open for writing.
        place: the number of the byte, which need not exist.
    """
    region = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, region)
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether a path still names the file behind a handle."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
