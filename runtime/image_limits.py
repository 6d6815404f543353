"""Limits what decoding an image may cost in memory and time, from its header, before a pixel is decoded.

A small file can claim to be a large image, and can make a parser written in Python read millions of empty blocks.
Pillow's own limit counts only pixels. It ignores the memory of a mode, scans, blocks, tags and strips, and no other
library checks these.
"""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL import Image

from .errors import ImageError
from .memory import MAX_MEMORY_BYTES

MAX_IMAGE_BYTES = 64 * 2**20
#: The largest number of pixels to decode; a larger JPEG is accepted if its reduced scale is within it.
MAX_PIXELS = 32 * 10**6
#: The largest number of rows or columns: one row of millions of pixels takes far longer to resize than a square.
MAX_IMAGE_SIDE = 65_535
#: The coefficients of a JPEG in several scans, which libjpeg keeps beside what earlier images left in the heap.
MAX_COEFFICIENT_BYTES = 128 * 10**6
#: How often a parser may read. Pillow's parsers stay below a few thousand reads on real files.
MAX_READS = 100_000
#: Pillow decodes BMP's run lengths in Python, pixel by pixel, with two reads for each run.
MAX_RLE_PIXELS = 4 * 10**6
MAX_RLE_READS = 10**6
#: A progressive JPEG usually has ten scans, and each of them is decoded over the whole picture.
MAX_SCANS = 100
#: The size of a JPEG segment. A larger block, which only other formats can hold, is not read at all.
MAX_EXIF_BYTES = 65_536
#: All EXIF segments of a JPEG together; Pillow joins them one by one.
MAX_JOINED_EXIF_BYTES = 2**20
#: Strips or tiles of a TIFF; each is an object in Python.
MAX_STRIPS = 65_536

#: Entries of a TIFF's directory, and bytes of their values.
MAX_TAGS = 4096
MAX_TAG_BYTES = 32 * 2**20

#: A DNG has a tag of its own. In this and other raw formats the first picture is a preview (bit 0 of the kind of
#: subfile), and the photo itself is in a directory below it.
_DNG_VERSION, _SUBFILE, _SUBDIRECTORIES = 50706, 254, 330
_STRIP_TAGS = (273, 279, 324, 325)
#: Bytes of a value by its type; values of unknown types are not read.
_TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
#: Bytes of a pixel as Pillow keeps it; every mode of several bands takes four.
_ONE_BYTE, _TWO_BYTES = ("1", "L", "P"), ("I;16", "I;16B", "I;16L", "I;16N")
_EXIF = b"Exif\0"
_START_OF_SCAN = b"\xff\xda"
#: JPEG markers that begin a frame: C0 to CF without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Frames, tables, restart interval, applications' own, comments, and the start of a scan.
_ORDINARY = _FRAMES | {0xC4, 0xDA, 0xDB, 0xDD, 0xFE} | frozenset(range(0xE0, 0xF0))
_MANY_SEGMENTS = 1000


class LimitedReader(io.BytesIO):
    """An encoded image in memory that raises an error once it is read from too often.

    Pillow's parsers read each chunk, block and run separately, so this bounds their time for every format.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._limit = self._left = MAX_READS

    def allow(self, reads: int) -> None:
        """Allow further reads."""
        self._limit += reads
        self._left += reads

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ImageError(f"more than {self._limit:,} blocks, the limit; save it again")
        return super().read(size)


def checked(data: bytes) -> tuple[io.BytesIO, int]:
    """A file object for Pillow to open, after checks that opening takes neither too long nor too much memory.

    Returns:
        the file object, and the bytes that it and its decoder take beside the pixels.

    Raises:
        ImageError: a limit is exceeded, a JPEG's scans would not fit, or a TIFF's directory is missing.
    """
    if data[:2] == b"\xff\xd8":
        plain, coefficients = _check_jpeg(data)
        return (io.BytesIO if plain else LimitedReader)(data), len(data) + coefficients
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _check_tiff(data)
    return LimitedReader(data), len(data)


def check_decoding(image: Image.Image, size: int, channels: int, turns: bool) -> int:
    """Refuse an image that would take too long or too much memory to decode; return the bytes that it takes.

    Args:
        image: opened, not decoded; a JPEG with its reduced scale chosen.
        size: bytes that are taken beside the pixels, as `checked` returns them.
        channels: the channels of the result, 1 or 3.
        turns: whether the image must be turned upright.

    Raises:
        ImageError: a limit is exceeded.
    """
    width, height = image.size
    if max(width, height) > MAX_IMAGE_SIDE:
        raise ImageError(f"{width} x {height} pixels, a side of more than {MAX_IMAGE_SIDE:,}, the limit")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels, more than {MAX_PIXELS // 10**6} million, the limit")
    needed = decoding_bytes(image, size, channels, turns)
    if needed > MAX_MEMORY_BYTES:
        raise ImageError(
            f"{width} x {height} pixels of {image.format} {image.mode} take {needed // 10**6} MB, more than "
            f"{MAX_MEMORY_BYTES // 10**6}, the limit; save it smaller"
        )
    tile = getattr(image, "tile", None)
    if tile and tile[0][0] == "bmp_rle":
        if width * height > MAX_RLE_PIXELS:
            raise ImageError(f"{width} x {height} pixels in run lengths, more than {MAX_RLE_PIXELS:,}, the limit")
        reader = getattr(image, "fp", None)
        if isinstance(reader, LimitedReader):
            reader.allow(MAX_RLE_READS)
    return needed


def decoding_bytes(image: Image.Image, size: int, channels: int, turns: bool) -> int:
    """The bytes that decoding an image takes; the arguments are those of `check_decoding`."""
    width, height = image.size
    size += 2 * sum(len(value) for value in image.info.values() if isinstance(value, bytes | str))
    return size + width * height * _bytes_per_pixel(image, channels, turns) + _tiff_buffer(image)


def _bytes_per_pixel(image: Image.Image, channels: int, turns: bool) -> int:
    mode = image.mode
    stored = 1 if mode in _ONE_BYTE else 2 if mode in _TWO_BYTES else 4
    wanted = "L" if channels == 1 else "RGB"
    cost = stored
    if mode != wanted or "transparency" in image.info:
        # A 16-bit image becomes grey before it becomes RGB.
        cost += (1 if channels == 1 else 4) + (1 if mode.startswith("I") else 0)
    if turns:  # the image as it was decoded is freed before the turned one is converted
        cost = max(cost, 2 * stored)
    if image.format == "WEBP":
        # libwebp keeps two canvases, and Pillow a copy of one, beside the image itself.
        cost = max(16, cost + 8)
    return cost


def _tiff_buffer(image: Any) -> int:
    """Bytes of a TIFF's largest strip or tile, which libtiff unpacks as a whole; 0 for other formats."""
    if image.format != "TIFF":
        return 0
    width, height = image.size
    rows, tile_width, tile_height = (image.tag_v2.get(tag) for tag in (278, 322, 323))
    if isinstance(tile_width, int) and isinstance(tile_height, int):
        return 4 * tile_width * tile_height
    return int(4 * width * min(height, rows if isinstance(rows, int) else height))


def _check_jpeg(data: bytes) -> tuple[bool, int]:
    """Refuse a JPEG in several scans whose coefficients would not fit, or that has too many scans.

    An image in one scan is decoded row by row. One in several scans, such as every progressive JPEG, needs all the
    coefficients of the full scale at once, even for a reduced scale: 2 bytes for each sample.

    Returns:
        whether its segments are few and of the kinds that cameras write, so that Pillow needs no limit on its reads;
        and the bytes of the coefficients that are kept.
    """
    at, components, pixels, samples, several, exif = 2, 0, 0, 0.0, False, 0
    plain = True
    for number in range(MAX_READS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 10 > len(data):
            return False, 0
        marker = data[at + 1]
        plain = plain and marker in _ORDINARY and number < _MANY_SEGMENTS
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # no marker, or a marker without a length
            at += 1 if marker == 0xFF else 2
            continue
        length, rows, columns = struct.unpack_from(">HxHH", data, at + 2)
        if marker in _FRAMES:
            several = marker not in (0xC0, 0xC1)
            components, pixels = data[at + 9], rows * columns
            samples = _samples_per_pixel(data[at + 10 : at + 10 + 3 * components])
        elif data.startswith(_EXIF, at + 4):
            exif += length
            if exif > MAX_JOINED_EXIF_BYTES:
                raise ImageError(f"a JPEG with more than {MAX_JOINED_EXIF_BYTES // 2**20} MiB of EXIF, the limit")
        elif marker == _START_OF_SCAN[1]:
            kept = several or data[at + 4] != components
            return plain, _check_scans(data, pixels, samples) if kept else 0
        at += 2 + length
    return False, 0


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


def _check_tiff(data: bytes) -> None:
    order = "<" if data[:1] == b"I" else ">"
    big = 0x2B in data[2:4]
    entry, field = (20, "Q") if big else (12, "I")
    size = 0
    found: dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(order + field, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
        if count > MAX_TAGS:
            raise ImageError(f"a TIFF of {count:,} tags, more than {MAX_TAGS:,}, the limit")
        for number in range(count):
            tag, kind, values = struct.unpack_from(f"{order}HH{field}", data, at + (8 if big else 2) + number * entry)
            found[tag] = at + (8 if big else 2) + number * entry + entry - struct.calcsize(field)
            if tag in _STRIP_TAGS and values > MAX_STRIPS:
                raise ImageError(f"a TIFF of {values:,} strips or tiles, more than {MAX_STRIPS:,}, the limit")
            size += values * _TAG_BYTES.get(kind, 0)
        preview = _SUBDIRECTORIES in found and _SUBFILE in found
        if preview:
            preview = struct.unpack_from(f"{order}I", data, found[_SUBFILE])[0] & 1 == 1
    except (struct.error, OverflowError) as error:
        raise ImageError("truncated TIFF: its directory is missing") from error
    if preview or _DNG_VERSION in found or data[8:10] == b"CR":
        raise ImageError("a camera's raw photo (such as DNG), which is not decoded; convert it to JPEG")
    if size > MAX_TAG_BYTES:
        raise ImageError(f"a TIFF with {size // 2**20:,} MiB of tags, more than {MAX_TAG_BYTES // 2**20}, the limit")


def exif_is_too_large(image: Any) -> bool:
    """Whether the EXIF block is larger than a camera's: the time of parsing can grow with its square."""
    return len(image.info.get("exif") or b"") > MAX_EXIF_BYTES
