"""Opens zip archives from outside: their list of members is bounded, and each name is in it once."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

#: The largest list of members that is read: about 20,000 members, which take 13 MB of memory.
MAX_DIRECTORY_BYTES = 2**20


class _Bounded:
    """A file of which at most `most` bytes are read at once: zipfile reads a list of members, of any size, in one."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self.most: int | None = most
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if self.most is not None:
            size = self.most + 1 if size < 0 else min(size, self.most + 1)
        found = self._file.read(size)
        if self.most is not None and len(found) > self.most:
            raise zipfile.BadZipFile(f"its list of members has more than {self.most:,} bytes")
        return found


@contextmanager
def open_archive(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """A zip archive of which only the list of members has been read.

    Args:
        file: binary and seekable; the archive may stand behind something else.

    Raises:
        zipfile.BadZipFile: it is none, its list of members is larger than `MAX_DIRECTORY_BYTES`, or two members have
            one name: readers would disagree about which of them is meant.
    """
    bounded = _Bounded(file, MAX_DIRECTORY_BYTES)
    with zipfile.ZipFile(bounded) as archive:
        bounded.most = None
        seen = set[str]()
        for name in archive.namelist():
            if name in seen:
                raise zipfile.BadZipFile(f"two of its members are named {name!r}")
            seen.add(name)
        yield archive
