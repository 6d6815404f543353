"""Locking a journal against a second watch."""

from __future__ import annotations

import fcntl

from ..errors import WatchError
from ..file_lock import try_lock

#: A watch locks this byte; SQLite itself locks the 512 bytes from 0x40000000 on.
_LOCKED_BYTE = 0x40000400


def lock(handle: int, name: str) -> None:
    """Lock a journal's byte until its handle is closed; SQLite's own locks do not touch it."""
    if not try_lock(handle, _LOCKED_BYTE):
        raise _in_use(name)


def lock_old(handle: int, name: str) -> None:
    """Refuse a journal of JSON lines that a watch of an earlier version is writing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _in_use(name) from error


def _in_use(name: str) -> WatchError:
    return WatchError(f"{name}: another watch is using this journal; stop it, or name another with `journal`")
