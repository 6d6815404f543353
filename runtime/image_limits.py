"""Limits what decoding an image may cost in memory and time, from its header, before a pixel is decoded.

A small file can claim to be a large image, and can make a parser written in Python read millions of empty blocks.
Pillow's own limit counts only pixels. It ignores the memory of a mode, scans, blocks, tags and strips, and no other
library checks these.
"""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from .errors import ImageError
from .memory import MAX_MEMORY_BYTES

MAX_IMAGE_BYTES = 64 * 2**20
#: The largest number of pixels to decode; a larger JPEG is accepted if its reduced scale is within it.
MAX_PIXELS = 32 * 10**6
#: The largest number of rows or columns: one row of millions of pixels takes far longer to resize than a square.
MAX_IMAGE_SIDE = 65_535
#: Colour images up to this size are turned as a whole, larger ones a channel at a time: slower, in less memory.
MAX_TURNED_PIXELS = 8 * 10**6
#: How often a parser may read. Pillow's parsers stay below a few thousand reads on real files.
MAX_READS = 100_000
#: Pillow decodes BMP's run lengths in Python, pixel by pixel, with two reads for each run.
MAX_RLE_PIXELS = 4 * 10**6
MAX_RLE_READS = 10**6
#: The size of a JPEG segment. A larger block, which only other formats can hold, is not read at all.
MAX_EXIF_BYTES = 65_536

#: Bytes of a pixel as Pillow keeps it; every mode of several bands takes four.
_TEXT_TYPES = (bytes, str)
_ONE_BYTE, _TWO_BYTES = ("1", "L", "P"), ("I;16", "I;16B", "I;16L", "I;16N")
_BITS, _COMPRESSION = 258, 259
#: Converting and resizing take a few rows more, about this many pixels, and bytes for each of them.
_STRIP_PIXELS, _STRIP_BYTES = 2**18, 16


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


def check_decoding(image: Image.Image, size: int, channels: int, turns: bool) -> int:
    """Refuse an image that would take too long or too much memory to decode; return the bytes that it takes.

    Args:
        image: opened, not decoded; a JPEG with its reduced scale chosen.
        size: bytes that are taken beside the pixels, as `open_encoded` returns them.
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
    pixels = width * height
    for value in image.info.values():
        if isinstance(value, _TEXT_TYPES):
            size += 2 * len(value)
    stored, changed = _bytes_per_pixel(image, channels, turns)
    # The file is free when the pixels are changed, if it is large.
    needed = max(size + pixels * stored + _decoder_bytes(image, size), pixels * changed)
    return needed + min(pixels, _STRIP_PIXELS) * _STRIP_BYTES


def _bytes_per_pixel(image: Image.Image, channels: int, turns: bool) -> tuple[int, int]:
    """What the pixels take as they are decoded; and at most while they are converted, and then turned."""
    mode = image.mode
    stored = 1 if mode in _ONE_BYTE else 2 if mode in _TWO_BYTES else 4
    changed = stored
    if mode != ("L" if channels == 1 else "RGB") or "transparency" in image.info:
        # A 16-bit image becomes grey before it becomes RGB.
        changed += (1 if channels == 1 else 4) + (1 if mode.startswith("I") else 0)
    if turns:
        changed = max(changed, 2 if channels == 1 else 4 + 2 if is_turned_by_channel(image.size, channels) else 4 + 4)
    if image.format == "WEBP":
        # libwebp keeps two canvases, and Pillow a copy of one, beside the image itself.
        return 16, max(16, changed + 8)
    return stored, changed


def is_turned_by_channel(size: tuple[int, int], channels: int) -> bool:
    """Whether an image of this size is so large that it is turned, and then resized, a channel at a time."""
    return channels > 1 and size[0] * size[1] > MAX_TURNED_PIXELS


def _decoder_bytes(image: Any, size: int) -> int:
    """What a decoder takes beside the file and the pixels: libwebp a copy of the file, libtiff a strip or tile."""
    if image.format == "WEBP":
        return size
    if image.format != "TIFF" or image.tag_v2.get(_COMPRESSION, 1) == 1:
        return 0
    width, height = image.size
    rows, tile_width, tile_height, bits = (image.tag_v2.get(tag) for tag in (278, 322, 323, _BITS))
    sample_bits = sum(bits) if isinstance(bits, tuple) else 32
    pixel = max(4, sample_bits // 8)
    if isinstance(tile_width, int) and isinstance(tile_height, int):
        return pixel * tile_width * tile_height
    return int(pixel * width * min(height, rows if isinstance(rows, int) else height))


def exif_is_too_large(image: Any) -> bool:
    """Whether the EXIF block is larger than a camera's: the time of parsing can grow with its square."""
    return len(image.info.get("exif") or b"") > MAX_EXIF_BYTES
