"""Which images lie in a folder, and which of them are complete.

The folder is scanned again and again: this works on every file system, and finds what arrived while no watch ran. A
file counts as complete when its size and its time of change have stayed the same for a while.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ImageError, WatchError
from ..files import is_hidden_name, read_stream, shown
from ..image_formats import SUFFIXES, suffix_of
from ..image_limits import MAX_IMAGE_BYTES
from .journal_file import Identity

_log = logging.getLogger(__name__)
#: Suffixes of files that are passed over and logged; programs that write under random names would never end.
_MAX_SUFFIXES = 20

#: Seconds after which a file that changes all the time is worth a warning.
_MIN_WARNING_S = 10.0
#: File systems that give their files new numbers each time they are mounted, or more often.
_UNSTABLE = frozenset({"vfat", "msdos", "exfat", "fuseblk", "cifs", "smb3", "9p"})


class WatchedFolder:
    """A folder to scan for images; hidden names, links, and files without an image's suffix are ignored.

    The first file of each other suffix is logged.

    Args:
        path: the folder.
        recursive: scan its subfolders too.

    Raises:
        WatchError: it is no folder, or cannot be read.
    """

    def __init__(self, path: str, recursive: bool = False) -> None:
        self.path = path
        self._recursive = recursive
        self._passed_over: set[str] = set()
        try:
            state = os.stat(path)
            self._place = (state.st_dev, state.st_ino)
            self._has_inodes = keeps_inodes(state.st_dev)
            os.scandir(path).close()
        except OSError as error:
            raise WatchError(f"{shown(path)}: cannot be watched: {error.strerror}") from error

    def full_path(self, path: str) -> str:
        """A path below the folder, as the user would name it."""
        return os.path.join(self.path, path)

    def folders(self) -> list[str]:
        """The folder, and if it is scanned recursively those below it; hidden ones are left out."""
        if not self._recursive:
            return [self.path]
        found = []
        for parent, folders, _ in os.walk(self.path):
            folders[:] = [name for name in folders if not is_hidden_name(name)]
            found.append(parent)
        return found

    def identity_of(self, path: str) -> Identity | None:
        """The identity of the file that has this name now; None if there is none."""
        try:
            return self.identity(os.lstat(self.full_path(path)))
        except FileNotFoundError:
            return None

    def identity(self, state: os.stat_result) -> Identity:
        """The identity of a file; its number is 0 if the file system does not keep numbers."""
        return Identity(state.st_size, state.st_mtime_ns, state.st_ino if self._has_inodes else 0)

    def scan(self) -> dict[str, Identity]:
        """The images in the folder: their identities by their paths below it.

        Raises:
            WatchError: the folder is gone, or another folder is in its place.
        """
        found: dict[str, Identity] = {}
        try:
            state = os.stat(self.path)
            if (state.st_dev, state.st_ino) != self._place:
                raise WatchError(f"{shown(self.path)}: another folder is in its place; was it unmounted? start again")
            folders = self._list("", found)
        except OSError as error:
            if isinstance(error, WatchError):
                raise
            raise WatchError(
                f"{shown(self.path)}: cannot be watched any more: {error.strerror}; start again when it is back"
            ) from error
        while folders:
            try:
                folders += self._list(folders.pop(), found)
            except OSError:
                continue  # a subfolder that was just removed, or that may not be read
        return found

    def _list(self, below: str, found: dict[str, Identity]) -> list[str]:
        folders = []
        before = f"{below}/" if below else ""
        with os.scandir(self.full_path(below)) as entries:
            for entry in entries:
                name = entry.name
                if is_hidden_name(name):
                    continue
                path = f"{before}{name}"
                try:
                    if entry.is_file(follow_symlinks=False):
                        if name.lower().endswith(SUFFIXES):
                            found[path] = self.identity(entry.stat(follow_symlinks=False))
                        else:
                            self._pass_over(path)
                    elif self._recursive and entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                except FileNotFoundError:
                    continue
        return folders

    def _pass_over(self, path: str) -> None:
        suffix = suffix_of(path)
        if suffix in self._passed_over or len(self._passed_over) >= _MAX_SUFFIXES:
            return
        self._passed_over.add(suffix)
        kind = f"that end in {suffix}" if suffix else "without a suffix"
        _log.info("%s: passed over, as are all files %s", shown(self.full_path(path)), shown(kind))

    def read(self, path: str, identity: Identity) -> bytes | None:
        """An image's bytes, or None if the file is no longer the one that was scanned.

        Raises:
            ImageError: the file cannot be read.
        """
        full = self.full_path(path)
        try:
            handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ImageError(f"{shown(full)}: cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            return None
        with os.fdopen(handle, "rb") as file:
            if self.identity(os.fstat(handle)) != identity:
                return None
            data = read_stream(file, MAX_IMAGE_BYTES, ImageError, shown(full))
            return data if self.identity(os.fstat(handle)) == identity else None


def keeps_inodes(device: int, mounts: str = "/proc/self/mountinfo") -> bool:
    """Whether the file system on a device keeps the numbers of its files; True if that cannot be known.

    Source: proc(5), mountinfo: the third field is the device, and the field after the single hyphen is the type.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            kinds = {line.partition(" - ")[2].split()[0] for line in file if line.split()[2] == wanted}
    except (OSError, IndexError):
        return True
    return not any(kind in _UNSTABLE or kind.startswith("fuse.") for kind in kinds)


class _Waiting(NamedTuple):
    """A file that has yet to be answered: since when it is the same, and since when its name waits."""

    identity: Identity
    since: float
    first: float
    is_replaced: bool = False
    is_warned: bool = False


class SettlingFiles:
    """The files that have yet to be answered, and since when each of them has stayed the same.

    Args:
        settle: seconds without a change after which a file is read.
        patience: seconds without a change after which an unreadable file is answered with an error.

    A file that is replaced by another one again and again, as cameras do with `latest.jpg`, is complete each time: it
    need not stand still, and is read once every `settle` seconds. One that is rewritten in its place may be incomplete
    at any moment, so it is not read; if that lasts, a warning says why.
    """

    def __init__(self, settle: float, patience: float) -> None:
        self._settle = settle
        self._patience = max(settle, patience)
        self._since: dict[str, _Waiting] = {}
        self._failed: set[str] = set()

    def ready(self, waiting: Mapping[str, Identity], now: float) -> list[str]:
        """The files to read now, the oldest first.

        Args:
            waiting: all files that have yet to be answered.
            now: seconds on a monotonic clock.
        """
        self._failed = {path for path in self._failed if self._since[path].identity == waiting.get(path)}
        self._since = {path: self._seen_again(path, identity, now) for path, identity in waiting.items()}
        settled = []
        for path, file in self._since.items():
            since = file.first if file.is_replaced and path not in self._failed else file.since
            if now - since >= (self._patience if path in self._failed else self._settle):
                settled.append(path)
        return sorted(settled, key=lambda path: (waiting[path].mtime_ns, path))

    def _seen_again(self, path: str, identity: Identity, now: float) -> _Waiting:
        known = self._since.get(path)
        if known is None:
            return _Waiting(identity, now, now)
        if known.identity == identity:
            return known
        is_replaced = 0 not in (identity.inode, known.identity.inode) and identity.inode != known.identity.inode
        must_warn = not is_replaced and not known.is_warned and now - known.first >= max(self._patience, _MIN_WARNING_S)
        if must_warn:
            _log.warning(
                "warning: %s: is not read yet, as it has been changing for %.0f s; write each picture to another name "
                "and rename it, or lower `settle`",
                shown(path),
                now - known.first,
            )
        return _Waiting(identity, now, known.first, is_replaced, known.is_warned or must_warn)

    def is_replaced(self, path: str) -> bool:
        """Whether the file has replaced another one that was not read; the next one may have its name already."""
        return path in self._since and self._since[path].is_replaced

    def answered(self, path: str) -> None:
        """Note that a file was answered: what has its name next is another file."""
        self._since.pop(path, None)
        self._failed.discard(path)

    def failed(self, path: str) -> bool:
        """Note that a file could not be read, and return whether its time is up."""
        if path in self._failed or self._patience == self._settle:
            return True
        self._failed.add(path)
        return False
