"""One copy on the disk for the arrays of all runs with the same data.

A run folder holds its array as a hard link to the cache's file, which is named after the SHA-256 of its content. So two
runs take the room of one, and yet each is whole by itself: it can be copied to another machine, exported, or read on a
read-only medium without the cache, and the cache can be cleared at any time. A reference to the cache would need the
data set again after each of these. The price: who changes the file within one run changes it for all. `splits.json`
records the SHA-256, which the reader of a run compares. Where no link is possible, a run keeps a copy of its own.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.cache import ARRAYS, CACHE_VARIABLE
from runtime.cache_contents import cache_entries, place_of_cache
from runtime.files import open_regular_file, shown

from ..errors import DatasetError

_logger = logging.getLogger(__name__)

_CHUNK = 2**20
#: How often an entry is tried again that appears or vanishes between two steps.
_ATTEMPTS = 5


def describe_file(path: Path) -> dict[str, Any]:
    """The "sha256" and "bytes" of a regular file, which is read piece by piece.

    Raises:
        DatasetError: it cannot be opened, or is not a regular file.
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with open_regular_file(path, DatasetError) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"sha256": digest.hexdigest(), "bytes": size}


def share_array(path: Path) -> dict[str, Any]:
    """Make a run's array and the cache's entry of that content one file.

    Where that is impossible, a warning is logged, and the array stays a file of its own. A damaged entry is replaced.
    Entries that no run uses any more are removed, so that the room of deleted runs is free again.

    Args:
        path: a file that was just written and that has no other name yet.

    Returns:
        As `describe_file`.

    Raises:
        DatasetError, OSError: the file cannot be read.
    """
    found = describe_file(path)
    try:
        cache = place_of_cache()
        entry = cache / ARRAYS / f"{found['sha256']}.npy"
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # a run may lie where nobody else can read
        _share(path, entry, found)
    except OSError as error:
        is_elsewhere = error.errno == errno.EXDEV
        _logger.warning(
            "cache: %s cannot be shared among runs (%s), so this run has its own %s bytes; $%s names another cache",
            path.name,
            f"{shown(cache)} is on another disk" if is_elsewhere else _reason(error),
            f"{found['bytes']:,}",
            CACHE_VARIABLE,
        )
    else:
        _remove_unused(cache, entry)
    return found


def _reason(error: OSError) -> str:
    where = error.filename2 or error.filename  # of a link, the new name
    return f"{shown(where)}: {error.strerror}" if where else error.strerror or str(error)


def _share(path: Path, entry: Path, found: dict[str, Any]) -> None:
    """Link a file to an entry, or put a link to the intact entry in its place. Other processes may do the same."""
    beside = path.with_name(f".{path.name}.partial-link")
    for _ in range(_ATTEMPTS):
        with suppress(FileExistsError):
            os.link(path, entry)
            return
        with suppress(FileNotFoundError):  # the cache was cleared
            # The link is examined, and not the entry, which another process may replace. A link to a symbolic link or
            # to a pipe is one itself.
            os.link(entry, beside, follow_symlinks=False)
            try:
                if _is_intact(beside, found):
                    beside.replace(path)
                    return
                entry.unlink()
            finally:
                beside.unlink(missing_ok=True)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(entry))


def _is_intact(path: Path, found: dict[str, Any]) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size == found["bytes"] and describe_file(path) == found


def _remove_unused(cache: Path, entry: Path) -> None:
    """Remove the arrays that only the cache has, but for this one; never fail."""
    with suppress(OSError):
        for other in cache_entries(cache, (ARRAYS,)):
            if not other.links and other.name != entry.name:
                (entry.parent / other.name).unlink(missing_ok=True)
