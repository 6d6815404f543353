"""Exchanges two folders in one step, and keeps a second process out of a folder."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of <fcntl.h> and <linux/fs.h>
#: What a kernel or a file system answers that cannot exchange, or has no locks.
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV, errno.ENOLCK)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two existing paths in one step, so that neither is ever missing; False where the system cannot.

    Raises:
        OSError: the system refuses it; both are unchanged.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # a C library without it
        return False
    if not rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(other))


@contextmanager
def locked(path: Path, in_use: Exception) -> Iterator[bool]:
    """Hold a lock while the block runs; its file is removed afterwards, and a kill releases the lock.

    Args:
        path: the lock's file, which is created.
        in_use: the error to raise if another process, or another thread, holds the lock.

    Returns:
        Whether the lock is held: False on a file system without locks.

    Raises:
        OSError: the file cannot be created.
    """
    handle, is_held = _lock(path, in_use)
    try:
        yield is_held
    finally:
        if is_held:
            path.unlink(missing_ok=True)
        os.close(handle)


def _lock(path: Path, in_use: Exception) -> tuple[int, bool]:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle, True
        except FileNotFoundError:
            pass  # as below
        except BlockingIOError:
            os.close(handle)
            raise in_use from None
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return handle, False
            os.close(handle)
            raise
        os.close(handle)  # its holder has removed it in the meantime
