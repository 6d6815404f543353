"""What lies in the cache, and how it is cleared. Everything in it can be made again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .cache import ARRAYS, CACHE_VARIABLE, FOLDS, SEALED, TRIALS, cache_folder
from .errors import PocketlensError
from .files import shown

#: Each subfolder, and what its entries are.
KINDS = {
    ARRAYS: "images and readings of data sets",
    TRIALS: "verdicts on models that were tried",
    SEALED: "marks of models that were checked",
    FOLDS: "scores and checkpoints of data errors",
}
#: The names of our files: each begins with a SHA-256, but for a verdict that is being written.
_NAME = re.compile(r"[0-9a-f]{64}[-.][^/]+|\.trial-[^/]+")


class CacheError(PocketlensError, OSError):
    """The cache has no place, cannot be read, or cannot be cleared."""


class CacheEntry(NamedTuple):
    """A file in the cache.

    Attributes:
        kind: the subfolder, a key of `KINDS`.
        name: the file's name in it.
        bytes: its size.
        links: names that the file has elsewhere; an array has one in each run folder that uses it.
    """

    kind: str
    name: str
    bytes: int
    links: int


def place_of_cache() -> Path:
    """The folder of the cache, which need not exist.

    Raises:
        CacheError: there is no home folder.
    """
    folder = cache_folder()
    if folder is None:
        raise CacheError(f"cache: no home folder to put it in; name a folder with ${CACHE_VARIABLE}")
    return folder


def cache_entries(folder: Path, kinds: tuple[str, ...] = tuple(KINDS)) -> list[CacheEntry]:
    """Our files in a cache, in order. Links and the files of others are passed over.

    Args:
        folder: the cache; a missing one is empty.
        kinds: the subfolders.

    Raises:
        CacheError: it is no folder, or cannot be read.
    """
    found = []
    try:
        if folder.exists() and not folder.is_dir():
            raise CacheError(f"{shown(folder)}: not a folder; name another cache with ${CACHE_VARIABLE}")
        for kind in kinds:
            place = folder / kind
            if place.is_symlink() or not place.is_dir():
                continue
            for path in sorted(place.iterdir()):
                if path.is_file() and not path.is_symlink() and _NAME.fullmatch(path.name):
                    status = path.lstat()
                    found.append(CacheEntry(kind, path.name, status.st_size, status.st_nlink - 1))
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(
            f"{shown(error.filename)}: cannot be read: {error.strerror}; name another cache with ${CACHE_VARIABLE}"
        ) from error
    return found


def clear_cache(folder: Path) -> list[CacheEntry]:
    """Remove our files from a cache; returns what was removed.

    No lock is needed. What another process writes at the same time appears by one link or renaming; where its file
    vanishes before, that process does without the cache. An array stays in the run folders that use it.

    Raises:
        CacheError: as `cache_entries`, or an entry cannot be removed.
    """
    entries = cache_entries(folder)
    for entry in entries:
        path = folder / entry.kind / entry.name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(
                f"{shown(path)}: cannot be removed: {error.strerror}; make its folder writable, and clear again"
            ) from error
    return entries
