"""Which images lie in a folder, and which of them stand still.

A folder is looked through again and again: that works on every file system, and sees what arrived while nobody looked.
A file counts as arrived when its size and its time of change stood still for a while.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from ..errors import ImageError, WatchError
from ..files import read_stream, shown
from ..image_limits import MAX_IMAGE_BYTES
from ..images import SUFFIXES
from .entries import Identity

#: File systems that number their files anew each time they are mounted, or oftener.
_UNSTABLE = frozenset({"vfat", "msdos", "exfat", "fuseblk", "cifs", "smb3", "9p"})


class Folder:
    """A folder to look through; hidden names, links, and whatever is no image by its name are passed over.

    Raises:
        WatchError: it is no folder that can be read.
    """

    def __init__(self, path: str, recursive: bool = False) -> None:
        self.path = path
        self._recursive = recursive
        try:
            state = os.stat(path)
            self._place = (state.st_dev, state.st_ino)
            self._has_inodes = keeps_inodes(state.st_dev)
            os.scandir(path).close()
        except OSError as error:
            raise WatchError(f"{shown(path)}: cannot be watched: {error.strerror}") from error

    def full(self, path: str) -> str:
        """A path below the folder, as the user would name it."""
        return os.path.join(self.path, path)

    def identity(self, state: os.stat_result) -> Identity:
        """What tells this file from others; without its number where the file system keeps none."""
        return Identity(state.st_size, state.st_mtime_ns, state.st_ino if self._has_inodes else 0)

    def scan(self) -> dict[str, Identity]:
        """The images that are there, by their path below the folder.

        Raises:
            WatchError: the folder is gone, or another one is in its place.
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
                continue  # a subfolder that has just gone, or is not ours to read
        return found

    def _list(self, below: str, found: dict[str, Identity]) -> list[str]:
        folders = []
        before = f"{below}/" if below else ""
        with os.scandir(self.full(below)) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                path = f"{before}{name}"
                try:
                    if name.lower().endswith(SUFFIXES) and entry.is_file(follow_symlinks=False):
                        found[path] = self.identity(entry.stat(follow_symlinks=False))
                    elif self._recursive and entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                except FileNotFoundError:
                    continue
        return folders

    def read(self, path: str, identity: Identity) -> bytes | None:
        """An image's bytes, or None if it is not the file that was seen any more.

        Raises:
            ImageError: it cannot be read.
        """
        full = self.full(path)
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
    """Whether the file system on a device numbers its files for good; True where that cannot be known.

    Source: proc(5), mountinfo: the third field is the device, the one after the lonely hyphen the type.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            kinds = {line.partition(" - ")[2].split()[0] for line in file if line.split()[2] == wanted}
    except (OSError, IndexError):
        return True
    return not any(kind in _UNSTABLE or kind.startswith("fuse.") for kind in kinds)


class Settling:
    """Files that were seen and not answered yet: which of them stand still.

    Args:
        settle: seconds without a change after which a file is read.
        patience: seconds without a change after which one that cannot be read is given up.
    """

    def __init__(self, settle: float, patience: float) -> None:
        self._settle = settle
        self._patience = max(settle, patience)
        self._seen: dict[str, tuple[Identity, float]] = {}
        self._failed: set[str] = set()

    def ready(self, waiting: Mapping[str, Identity], now: float) -> list[str]:
        """Of the files that wait, those to be read now, the oldest first."""
        self._failed = {path for path in self._failed if self._seen[path][0] == waiting.get(path)}
        self._seen = {
            path: self._seen[path] if path in self._seen and self._seen[path][0] == identity else (identity, now)
            for path, identity in waiting.items()
        }
        still = [
            path
            for path, (_, since) in self._seen.items()
            if now - since >= (self._patience if path in self._failed else self._settle)
        ]
        return sorted(still, key=lambda path: (waiting[path].mtime_ns, path))

    def failed(self, path: str) -> bool:
        """Note that a file could not be read; whether it is to be given up."""
        if path in self._failed or self._patience == self._settle:
            return True
        self._failed.add(path)
        return False
