"""Splits a stream of bytes into frames: JPEGs behind each other, or raw pixels of a known size.

The buffers are bounded, whatever the stream holds. What is no frame is passed over and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from ..image_limits import MAX_IMAGE_SIDE, MAX_PIXELS
from .frame import Picture

#: The largest frame of a stream; a longer one is passed over.
MAX_FRAME_BYTES = 32 * 2**20

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
#: The end of a frame, or the start of the next: one search, which takes a fifth of the time of two.
_EDGE = re.compile(rb"\xff[\xd8\xd9]")
_FILL, _SCAN = 0xFF, 0xDA
#: Markers without a length: TEM and the restart markers.
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
#: APP1 and APP2, which may hold thumbnails; a start in any other header is that of the next frame.
_WITH_PICTURES = frozenset({0xE1, 0xE2})
#: Markers that no header holds: an escaped byte, a second start, an end.
_MISPLACED = frozenset({0x00, 0xD8, 0xD9})


class FrameSplitter(Protocol):
    """Takes a stream of bytes piece by piece.

    Attributes:
        damaged: how many frames were passed over, as they were cut, garbled or too large.
    """

    damaged: int

    def feed(self, chunk: bytes) -> Iterator[Picture]:
        """Take the next bytes, and yield the frames that they complete."""
        ...


class JpegSplitter:
    """Finds the JPEGs in a stream, whatever lies between them, such as the heads of an MJPEG stream's parts.

    Within the compressed pixels the bytes FF D8 and FF D9 can only be markers, so the end of a frame is found, and a
    frame that was cut is noticed by the start of the next (ITU T.81, B.1.1.5). Headers are passed over by their
    lengths, as a thumbnail in them has a start and an end of its own.

    Args:
        limit: the largest frame in bytes.
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self.damaged = 0
        self._limit = limit
        self._buffer = bytearray()
        self._at = 0  # how far the frame at the start of the buffer was looked at; 0 between two frames
        self._in_scan = False

    def feed(self, chunk: bytes) -> Iterator[Picture]:
        """Take the next bytes, and yield the frames that they complete."""
        self._buffer += chunk
        while self._find_start():
            end = self._find_end()
            if end is None:
                if len(self._buffer) <= self._limit:
                    return
                self._pass_over(len(_START))
            elif end > self._limit:
                self._pass_over(end)
            elif end:
                frame = bytes(self._buffer[:end])
                self._drop(end)
                yield frame, None

    def _find_start(self) -> bool:
        """Whether a frame begins at the start of the buffer, after what lies before one was dropped."""
        if self._at:
            return True
        start = self._buffer.find(_START)
        if start < 0:
            del self._buffer[: max(0, len(self._buffer) - len(_START) + 1)]
            return False
        del self._buffer[:start]
        self._at, self._in_scan = 2, False
        return True

    def _find_end(self) -> int | None:
        """The end of the frame; None if it has not arrived, 0 if the frame was damaged and is dropped."""
        if not self._in_scan and not self._read_headers():
            return None if self._at else 0
        found = _EDGE.search(self._buffer, self._at)
        if found is None:
            self._at = max(self._at, len(self._buffer) - 1)
            return None
        place = found.start()
        del found  # it would keep the buffer from growing
        if self._buffer[place + 1] == _START[1]:
            self._pass_over(place)
            return 0
        return place + len(_END)

    def _read_headers(self) -> bool:
        """Go to the compressed pixels; False if more bytes are needed, or if the frame was damaged and is dropped."""
        while len(self._buffer) >= self._at + 4:
            marker = self._buffer[self._at + 1]
            if self._buffer[self._at] != _FILL or marker in _MISPLACED:
                self._pass_over(len(_START))
                return False
            if marker == _FILL:
                self._at += 1
            elif marker in _BARE:
                self._at += 2
            else:
                end = self._at + 2 + int.from_bytes(self._buffer[self._at + 2 : self._at + 4], "big")
                restart = -1 if marker in _WITH_PICTURES else self._buffer.find(_START, self._at + 2, end + 2)
                if restart >= 0:
                    self._pass_over(restart)
                    return False
                if len(self._buffer) < end + 2:  # a start may lie across the end
                    return False
                self._at = end
                if marker == _SCAN:
                    self._in_scan = True
                    return True
        return False

    def _pass_over(self, size: int) -> None:
        self.damaged += 1
        self._drop(size)

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._at, self._in_scan = 0, False


class RawFormat(NamedTuple):
    """The format of raw frames.

    Attributes:
        width, height: in pixels.
        pixels: `"grey"`, `"rgb24"`, `"bgr24"`; `"yuv420"`, planes of limited range (16 to 235) as cameras and ffmpeg
            give them, or `"yuvj420"`, the same of full range. Colours are those of BT.601.

    Example:
        >>> RawFormat.parse("640x480:yuv420").frame_bytes
        460800
    """

    width: int
    height: int
    pixels: str

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """The format of a text such as `640x480:yuv420`; raises ValueError."""
        found = re.fullmatch(r"(\d{1,6})x(\d{1,6}):(\w+)", text)
        if not found:
            raise ValueError(f"{text!r} is no raw format; expected WIDTHxHEIGHT:PIXELS, such as 640x480:yuv420")
        raw = cls(int(found[1]), int(found[2]), found[3].lower())
        if raw.pixels not in _PIXEL_BITS:
            raise ValueError(f"{text!r}: no pixels {found[3]!r}; expected one of {', '.join(_PIXEL_BITS)}")
        if not 0 < raw.width * raw.height <= MAX_PIXELS or max(raw.width, raw.height) > MAX_IMAGE_SIDE:
            raise ValueError(f"{text!r}: expected 1 to {MAX_PIXELS // 10**6} million pixels")
        if "420" in raw.pixels and (raw.width % 2 or raw.height % 2):
            raise ValueError(f"{text!r}: width and height of {raw.pixels} are even")
        return raw

    @property
    def frame_bytes(self) -> int:
        """The size of one frame."""
        return self.width * self.height * _PIXEL_BITS[self.pixels] // 8

    def picture(self, data: bytes) -> Picture:
        """The array of a frame's bytes, of `frame_bytes`, and its layout."""
        size = self.width * self.height
        if self.pixels == "yuv420":
            data = full_range(data, size)
        pixels = np.frombuffer(data, np.uint8)
        if "420" in self.pixels:
            return pixels.reshape(self.height // 2 * 3, self.width), "yuv420"
        if self.pixels == "grey":
            return pixels.reshape(self.height, self.width), None
        return pixels.reshape(self.height, self.width, 3), self.pixels[:3]


_PIXEL_BITS = {"yuv420": 12, "yuvj420": 12, "rgb24": 24, "bgr24": 24, "grey": 8}


def _table(least: int, most: int, middle: int, wanted_middle: int) -> bytes:
    """The full-range value for each limited-range one: a byte for each of 256."""
    scaled = (np.arange(256.0) - middle) * (255 / (most - least)) + wanted_middle
    return bytes(scaled.round().clip(0, 255).astype(np.uint8))


#: ITU-R BT.601, 2.5.3: luma from 16 to 235, differences of colour from 16 to 240 around 128.
_LUMA, _COLOUR = _table(16, 235, 16, 0), _table(16, 240, 128, 128)


def full_range(data: bytes, luma_bytes: int) -> bytes:
    """YUV420 of full range (0 to 255, as in a JPEG) from YUV420 of limited range."""
    return data[:luma_bytes].translate(_LUMA) + data[luma_bytes:].translate(_COLOUR)


class RawSplitter:
    """Cuts a stream into raw frames of one format; where the stream begins, a frame begins."""

    def __init__(self, raw: RawFormat) -> None:
        self.damaged = 0
        self._raw = raw
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Picture]:
        """Take the next bytes, and yield the frames that they complete."""
        self._buffer += chunk
        size = self._raw.frame_bytes
        while len(self._buffer) >= size:
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            yield self._raw.picture(data)


def make_splitter(raw: RawFormat | None) -> FrameSplitter:
    """A splitter for raw frames of a format, or for JPEGs."""
    return JpegSplitter() if raw is None else RawSplitter(raw)
