"""Limits what a file holds beside its pixels: the chunks of a PNG, the segments of a JPEG, the tags of a TIFF.

They are walked before Pillow opens the file, as Pillow unpacks, copies and joins them while it does. Blocks of other
formats are counted once the file is open, as they are no larger in memory than in the file.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import NamedTuple

from .errors import ImageError
from .image_limits import MAX_READS, LimitedReader

#: The coefficients of a JPEG in several scans, which libjpeg keeps beside what earlier images left in the heap.
MAX_COEFFICIENT_BYTES = 128 * 10**6
#: A progressive JPEG usually has ten scans, and each of them is decoded over the whole picture.
MAX_SCANS = 100
#: All EXIF segments of a JPEG together; Pillow joins them one by one.
MAX_JOINED_EXIF_BYTES = 2**20
#: Strips or tiles of a TIFF; each is an object in Python.
MAX_STRIPS = 65_536
#: Entries of a TIFF's directory; and the memory that the values of all entries take.
MAX_TAGS = 4096
MAX_TAG_BYTES = 32 * 2**20
#: All chunks of a PNG but its pixels, unpacked: Pillow joins them from pieces, which stay in the heap. Pillow refuses
#: a text of more than 1 MiB that is packed.
MAX_TEXT_BYTES = 16 * 2**20
_MAX_PACKED_TEXT = 2**20
#: A text's bytes, and its characters, which can take four bytes each.
_TEXT_COPIES = 5

_EXIF = b"Exif\0"
_START_OF_SCAN = b"\xff\xda"
#: JPEG markers that begin a frame: C0 to CF without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: The blocks that Pillow keeps: applications' own, and comments.
_KEPT = frozenset(range(0xE0, 0xF0)) | {0xFE}
#: Frames, tables, restart interval, and the start of a scan.
_ORDINARY = _FRAMES | _KEPT | {0xC4, 0xDA, 0xDB, 0xDD}
_MANY_SEGMENTS = 1000

#: The signature before a PNG's first chunk; and what a chunk takes beside its data.
_FIRST_CHUNK, _CHUNK_BYTES = 8, 12
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
#: The names of texts that hold an orientation; Pillow reads the first two as EXIF.
_ORIENTATION_TEXTS = (b"exif\0", b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")

#: A DNG has a tag of its own. In this and other raw formats the first picture is a preview (bit 0 of the kind of
#: subfile), and the photo itself is in a directory below it.
_DNG_VERSION, _SUBFILE, _SUBDIRECTORIES = 50706, 254, 330
#: Directories of EXIF, GPS and interoperability, all values of which Pillow unpacks.
_EXIF_DIRECTORIES = (34665, 34853, 40965)
_STRIP_TAGS = (273, 279, 324, 325)
#: Bytes of a value in memory by its type: of bytes and texts, of numbers, and of fractions; others are not read.
_TAG_BYTES = {1: 1, 2: 2, 7: 1, **dict.fromkeys((3, 4, 6, 8, 9, 11, 12, 13, 16, 17, 18), 48), 5: 320, 10: 320}
_OFFSETS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


class Blocks(NamedTuple):
    """What a file holds beside its pixels.

    Attributes:
        file: a file object for Pillow to open.
        size: the bytes that the file, its blocks and its decoder take beside the pixels.
        opening: the bytes of these that opening the file takes beside it.
        may_be_turned: for a PNG, whether it has a block that can hold an orientation.
    """

    file: io.BytesIO
    size: int
    opening: int = 0
    may_be_turned: bool = True


def check_blocks(data: bytes) -> Blocks:
    """Walk the blocks of an encoded image.

    Raises:
        ImageError: a limit is exceeded, a JPEG's scans would not fit, or a TIFF's directory is missing.
    """
    if data[:2] == b"\xff\xd8":
        plain, kept = _check_jpeg(data)
        return Blocks((io.BytesIO if plain else LimitedReader)(data), len(data) + kept)
    if data[:4] == b"\x89PNG":
        texts, may_be_turned = _check_png(data)
        texts *= _TEXT_COPIES
        return Blocks(LimitedReader(data), len(data) + texts, texts, may_be_turned)
    tags = _check_tiff(data) if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else 0
    return Blocks(LimitedReader(data), len(data) + tags, tags)


def _check_png(data: bytes) -> tuple[int, bool]:
    """The length of all texts, packed and unpacked; and whether an orientation may be among them."""
    at, texts, may_be_turned = _FIRST_CHUNK, 0, False
    for _ in range(MAX_READS):
        kind = data[at + 4 : at + 8]
        if len(kind) < 4:
            return texts, may_be_turned
        length = int.from_bytes(data[at : at + 4], "big")
        if kind != b"IDAT":
            texts += _text_bytes(kind, data, at + 8, min(len(data), at + 8 + length))
            if texts > MAX_TEXT_BYTES:
                raise ImageError(f"a PNG with more than {MAX_TEXT_BYTES // 2**20} MiB of metadata, the limit")
            is_named = kind in _TEXTS and data.startswith(_ORIENTATION_TEXTS, at + 8)
            may_be_turned = may_be_turned or is_named or kind == b"eXIf"
        at += _CHUNK_BYTES + length
    return texts, True


def _text_bytes(kind: bytes, data: bytes, start: int, end: int) -> int:
    """The bytes of a text, or of a colour profile, packed and unpacked; they are not copied, as they can be many."""
    at = data.find(b"\0", start, end) + 1
    if kind == b"iTXt" and data[at : at + 1] == b"\1":
        at = data.find(b"\0", at + 2, end) + 1  # behind a language
        at = data.find(b"\0", at, end) + 1  # behind a name in it
    elif kind in (b"zTXt", b"iCCP"):
        at += 1
    else:
        return end - start
    try:
        unpacked = zlib.decompressobj().decompress(memoryview(data)[at:end], _MAX_PACKED_TEXT)
    except zlib.error:  # Pillow says what is wrong with it
        return end - start
    return end - start + len(unpacked)


def _check_jpeg(data: bytes) -> tuple[bool, int]:
    """Refuse a JPEG in several scans whose coefficients would not fit, or that has too many scans.

    An image in one scan is decoded row by row. One in several scans, such as every progressive JPEG, needs all the
    coefficients of the full scale at once, even for a reduced scale: 2 bytes for each sample.

    Returns:
        whether its segments are few and of the kinds that cameras write, so that Pillow needs no limit on its reads;
        and the bytes of the coefficients and of the segments that are kept.
    """
    at, components, pixels, samples, several, exif, kept = 2, 0, 0, 0.0, False, 0, 0
    plain = True
    for number in range(MAX_READS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 10 > len(data):
            return False, kept
        marker = data[at + 1]
        plain = plain and marker in _ORDINARY and number < _MANY_SEGMENTS
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # no marker, or a marker without a length
            at += 1 if marker == 0xFF else 2
            continue
        length, rows, columns = struct.unpack_from(">HxHH", data, at + 2)
        if marker in _KEPT:
            kept += length
        if marker in _FRAMES:
            several = marker not in (0xC0, 0xC1)
            components, pixels = data[at + 9], rows * columns
            samples = _samples_per_pixel(data[at + 10 : at + 10 + 3 * components])
        elif data.startswith(_EXIF, at + 4):
            exif += length
            if exif > MAX_JOINED_EXIF_BYTES:
                raise ImageError(f"a JPEG with more than {MAX_JOINED_EXIF_BYTES // 2**20} MiB of EXIF, the limit")
        elif marker == _START_OF_SCAN[1]:
            if several or data[at + 4] != components:
                kept += _check_scans(data, pixels, samples)
            return plain, kept
        at += 2 + length
    return False, kept


def _samples_per_pixel(components: bytes) -> float:
    """Samples a pixel, from a frame's list of (number, sampling factors, table): 3 for 4:4:4, 1.5 for 4:2:0."""
    areas = [(factors >> 4) * (factors & 15) for factors in components[1::3]]
    return sum(areas) / max(1, *areas) if areas else 0.0


def _check_scans(data: bytes, pixels: int, samples: float) -> int:
    """The bytes of all coefficients, unless they or the scans are too many."""
    needed = int(2 * samples * pixels)
    if needed > MAX_COEFFICIENT_BYTES:
        raise ImageError(
            f"a progressive JPEG of {pixels / 1e6:.0f} million pixels takes {needed // 10**6} MB, more than "
            f"{MAX_COEFFICIENT_BYTES // 10**6}, the limit; save it as a baseline JPEG, or smaller"
        )
    scans = data.count(_START_OF_SCAN)
    if scans > MAX_SCANS:
        raise ImageError(f"a JPEG of {scans} scans, more than {MAX_SCANS}, the limit; save it again")
    return needed


class _Directories:
    """Walks the directories of a TIFF from which Pillow takes tags, and adds up what their values take."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data[:1] == b"I" else ">"
        self._is_big = 0x2B in data[2:4]
        self.size = 0

    def first(self) -> int:
        return self._number("Q", 8) if self._is_big else self._number("I", 4)

    def walk(self, at: int) -> dict[int, int]:
        """Where the value, or its place, of each tag of the directory at this place stands."""
        entry, field = (20, "Q") if self._is_big else (12, "I")
        count = self._number("Q" if self._is_big else "H", at)
        if count > MAX_TAGS:
            raise ImageError(f"a TIFF of {count:,} tags, more than {MAX_TAGS:,}, the limit")
        start = at + (8 if self._is_big else 2)
        found: dict[int, int] = {}
        for place in range(start, start + count * entry, entry):
            tag, kind, values = struct.unpack_from(f"{self._order}HH{field}", self._data, place)
            if tag in _STRIP_TAGS and values > MAX_STRIPS:
                raise ImageError(f"a TIFF of {values:,} strips or tiles, more than {MAX_STRIPS:,}, the limit")
            value = place + entry - struct.calcsize(field)
            found[tag] = value
            self.size += values * _TAG_BYTES.get(kind, 0)
            if tag in _EXIF_DIRECTORIES and kind in _OFFSETS:
                found[-tag] = self._number(_OFFSETS[kind], value)
        if self.size > MAX_TAG_BYTES:
            raise ImageError(
                f"a TIFF with {self.size // 2**20:,} MiB of tags, more than {MAX_TAG_BYTES // 2**20}, the limit"
            )
        return found

    def _number(self, kind: str, at: int) -> int:
        number: int = struct.unpack_from(self._order + kind, self._data, at)[0]
        return number

    def is_preview(self, value: int) -> bool:
        """Whether the kind of subfile at this place is that of a preview."""
        return bool(self._number("I", value) & 1)

    def walk_exif(self, found: dict[int, int]) -> None:
        """Walk the directories that these tags point to, and those below; damage ends it."""
        for tag in _EXIF_DIRECTORIES:
            if -tag in found:
                try:
                    below = self.walk(found[-tag])
                except (struct.error, OverflowError):
                    continue
                if tag == _EXIF_DIRECTORIES[0]:
                    self.walk_exif({-other: below[-other] for other in _EXIF_DIRECTORIES[1:] if -other in below})


def _check_tiff(data: bytes) -> int:
    """The bytes that the values of all tags take."""
    directories = _Directories(data)
    try:
        found = directories.walk(directories.first())
        is_preview = _SUBDIRECTORIES in found and _SUBFILE in found and directories.is_preview(found[_SUBFILE])
    except (struct.error, OverflowError) as error:
        raise ImageError("truncated TIFF: its directory is missing") from error
    if is_preview or _DNG_VERSION in found or data[8:10] == b"CR":
        raise ImageError("a camera's raw photo (such as DNG), which is not decoded; convert it to JPEG")
    directories.walk_exif(found)
    return directories.size
