"""Decoded images on disk, so that an image is decoded once and not in every epoch.

Each geometry has two files, which several trainings may share. One holds records of pixels; the other is the index,
with a line for each record: the digest of the image's file, and a checksum. A record counts only if its checksum is
right. One that was cut off, overwritten or never finished counts as absent, and is written again when its image has
been decoded again.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import stat
import struct
import tempfile
import threading
import weakref
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL

from runtime import ImageInput, __version__

from ..errors import DatasetError

_logger = logging.getLogger(__name__)

#: Where decoded images are kept: in a folder that outlives the training, in a temporary file, or nowhere.
CachePlace: TypeAlias = Path | Literal["temporary", "none"]

#: An index line: SHA-256 of the image's file; CRC-32 of that and the pixels; CRC-32 of both.
_LINE = struct.Struct("<32sII")
_FORMAT = 1
#: Bytes of the disk that the cache leaves free.
_RESERVE = 2**28
#: A temporary cache up to this size may lie in a file system that is memory.
_SMALL = 2**26


class PixelCache:
    """Images of one geometry by the SHA-256 of their files; several threads may use it.

    Args:
        records, index: descriptors of the two files, open for reading and writing; the cache closes them.
        spec: the geometry.
        wanted: the images that will be read; nothing about others is kept in memory.
    """

    def __init__(self, records: int, index: int, spec: ImageInput, wanted: Collection[bytes]) -> None:
        self._records, self._index = records, index
        self._size = spec.height * spec.width * spec.channels
        self._lock = threading.Lock()
        self._is_closed = False
        weakref.finalize(self, _close, records, index)
        self._places = self._read_index(wanted)

    def _read_index(self, wanted: Collection[bytes]) -> dict[bytes, tuple[int, int]]:
        """The number and the checksum of each wanted image's record."""
        found = {}
        with os.fdopen(os.dup(self._index), "rb") as file:
            file.seek(0)
            for number, line in enumerate(iter(lambda: file.read(_LINE.size), b"")):
                if len(line) < _LINE.size:
                    break
                digest, checksum, check = _LINE.unpack(line)
                if check == zlib.crc32(line[:-4]) and digest in wanted:
                    found[digest] = (number, checksum)
        return found

    @property
    def record_size(self) -> int:
        """Bytes that an image takes."""
        return self._size + _LINE.size

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def read(self, digest: bytes, row: npt.NDArray[np.uint8]) -> bool:
        """Put an image into `row`, a contiguous array; False where the record is absent or damaged."""
        number, checksum = self._places.get(digest, (-1, 0))
        if number < 0:
            return False
        read = os.preadv(self._records, [row.data], number * self._size)
        return read == self._size and zlib.crc32(row.data, zlib.crc32(digest)) == checksum

    def write(self, digest: bytes, row: npt.NDArray[np.uint8]) -> None:
        """Store an image. When the disk is full, a warning is logged once, and no more images are stored."""
        if self._is_closed:
            return
        checksum = zlib.crc32(row.data, zlib.crc32(digest))
        head = digest + checksum.to_bytes(4, "little")
        line = head + zlib.crc32(head).to_bytes(4, "little")
        with self._lock:
            try:
                # Other trainings may write to the same files.
                fcntl.flock(self._index, fcntl.LOCK_EX)
                try:
                    number = self._places.get(digest, (os.fstat(self._index).st_size // _LINE.size, 0))[0]
                    _write_at(self._records, row.data.cast("B"), number * self._size)
                    _write_at(self._index, memoryview(line), number * _LINE.size)
                finally:
                    fcntl.flock(self._index, fcntl.LOCK_UN)
            except OSError as error:
                self.close_for_writing(f"{error.strerror or error}")
                return
            self._places[digest] = (number, checksum)

    def close_for_writing(self, reason: str) -> None:
        """Store no more images, and log the reason once."""
        if not self._is_closed:
            self._is_closed = True
            _logger.warning("cache: %s; images that it lacks are decoded again in each epoch", reason)


def open_cache(place: CachePlace, spec: ImageInput, wanted: Collection[bytes]) -> PixelCache | None:
    """A cache for some images; None for the place "none", or where there is no room for a temporary cache.

    Args:
        wanted: the SHA-256 of each image's file.

    Raises:
        DatasetError: the folder cannot be used.
    """
    if place == "none":
        return None
    if place == "temporary":
        return _temporary(spec, wanted)
    try:
        place.mkdir(parents=True, exist_ok=True)
        base = place / f"pocketlens-{_key(spec)}"
        records, index = (_open(base.with_suffix(suffix)) for suffix in (".pixels", ".index"))
    except OSError as error:
        raise DatasetError(
            f"{place}: cannot hold decoded images: {error.strerror or error}; name another folder with `cache`"
        ) from error
    cache = PixelCache(records, index, spec, wanted)
    missing = sum(digest not in cache for digest in wanted)
    lacking = _lacks_room(place, missing * cache.record_size)
    if missing and lacking:
        cache.close_for_writing(lacking)
    return cache


def _temporary(spec: ImageInput, wanted: Collection[bytes]) -> PixelCache | None:
    needed = len(wanted) * (spec.height * spec.width * spec.channels + _LINE.size)
    problems = []
    # Where /tmp is memory, /var/tmp is a disk.
    for folder in dict.fromkeys((Path(tempfile.gettempdir()), Path("/var/tmp"))):
        if not os.access(folder, os.W_OK):
            continue
        if needed > _SMALL and _is_memory(folder):
            problems.append(f"{folder} lies in memory")
        elif lacking := _lacks_room(folder, needed):
            problems.append(lacking)
        else:
            # The files have no names, so they vanish with the process, however it ends.
            files = [tempfile.TemporaryFile(dir=folder) for _ in range(2)]  # noqa: SIM115
            records, index = (os.dup(file.fileno()) for file in files)
            for file in files:
                file.close()
            return PixelCache(records, index, spec, wanted)
    _logger.warning(
        "cache: %s; images are decoded again in each epoch, unless `cache` names a folder with room",
        "; ".join(problems) or "no temporary folder",
    )
    return None


def _key(spec: ImageInput) -> str:
    """A name made of everything that the decoded pixels depend on, the decoder's version included."""
    given = (*spec.shape, spec.colour, spec.resize, spec.filter, spec.orientation, spec.background)
    parts = (_FORMAT, *given, __version__, PIL.__version__)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path.name} is not a regular file")
    return handle


def _close(*handles: int) -> None:
    for handle in handles:
        os.close(handle)


def _write_at(handle: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def _lacks_room(folder: Path, needed: int) -> str:
    """Why a folder's disk has no room for so many bytes; "" where it has."""
    free = shutil.disk_usage(folder).free - _RESERVE
    if needed <= free:
        return ""
    return f"{folder} has room for {max(0, free) / 1e9:.1f} GB, and the images decoded take {needed / 1e9:.1f}"


def _is_memory(folder: Path) -> bool:
    """Whether a folder lies in a file system that is memory."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux: temporary folders are on disk
        return False
    device = folder.stat().st_dev
    for mount in mounts:
        _, point, kind, *_ = mount.split(" ")
        if kind in ("tmpfs", "ramfs") and Path(point).exists() and Path(point).stat().st_dev == device:
            return True
    return False
