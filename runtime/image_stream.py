"""Splits a stream of images, such as `cat *.jpg`, into the images: each is given as soon as it is complete.

The end of a JPEG, PNG or WebP follows from its structure, without decoding. Thumbnails lie inside segments, and further
pictures of a multi-picture file (MPF, CIPA DC-007) behind the first: both stay with their image. All other formats take
the rest of the stream.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

from .errors import ImageError
from .image_limits import MAX_IMAGE_BYTES

#: Images of one stream; a stream that has more is taken for a video that never ends.
MAX_STREAM_IMAGES = 500

_JPEG, _PNG, _RIFF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"
#: The start of a JPEG amid other data, where three bytes would be found by chance.
_LATER_JPEG = re.compile(rb"\xff\xd8\xff[\xe0\xe1\xdb]")
#: Bytes that may stand between two images.
_PADDING = b"\0\r\n"
_CHUNK = 2**16
#: A JPEG's next marker: no escaped byte of pixels (FF00), restart marker or fill byte.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_START, _END, _APP2 = 0xD8, 0xD9, 0xE2
#: The tag with the list of a multi-picture file's images, 16 bytes each: attributes, size, offset, dependencies.
_MP_ENTRIES, _MP_ENTRY = 0xB002, 16


def split_images(stream: Any, name: str, report_rest: Callable[[int], None]) -> Iterator[bytes]:
    """Yield each image of a binary stream, read without waiting for the next one.

    The stream ends for us where something follows an image that is none, such as the film of a phone's motion photo.

    Args:
        stream: a file object with `read1`, such as `sys.stdin.buffer`.
        name: of the stream, for messages.
        report_rest: called with the number of bytes that were passed over, if these seem to hold a JPEG.

    Raises:
        ImageError: the stream is empty or cannot be read, an image is larger than the limit, or there are more than
            `MAX_STREAM_IMAGES`.
    """
    buffer = _Buffer(stream, name)
    if not buffer.holds(1):
        raise ImageError(f"{name}: empty; nothing was written to it")
    count = 0
    while True:
        if count == MAX_STREAM_IMAGES:
            raise ImageError(
                f"{name}: more than {MAX_STREAM_IMAGES} images; `pocketlens live -` answers streams without end, such "
                "as MJPEG"
            )
        yield buffer.take(_end_of_image(buffer))
        count += 1
        if not buffer.has_another_image():
            break
    if buffer.data and _LATER_JPEG.search(buffer.data[: buffer.holds_all()]):
        report_rest(len(buffer.data))


class _Buffer:
    """The bytes of a stream that were read and not yet taken."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name = stream, name
        self.data = bytearray()

    def holds(self, size: int) -> bool:
        """Read until there are so many bytes; False if the stream ends before.

        Raises:
            ImageError: there are more than an image may have, or the stream cannot be read.
        """
        while len(self.data) < size:
            try:
                chunk = self._stream.read1(_CHUNK)
            except OSError as error:
                raise ImageError(f"{self._name}: cannot be read: {error.strerror or error}") from error
            if not chunk:
                return False
            self.data += chunk
            if len(self.data) > MAX_IMAGE_BYTES:
                raise ImageError(f"{self._name}: larger than {MAX_IMAGE_BYTES // 2**20} MiB, the limit")
        return True

    def holds_all(self) -> int:
        """Read to the end of the stream, and return the number of bytes."""
        self.holds(MAX_IMAGE_BYTES + 1)
        return len(self.data)

    def take(self, size: int) -> bytes:
        """Take the first bytes out."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def has_another_image(self) -> bool:
        """Whether an image follows, behind padding."""
        while self.holds(1) and self.data[0] in _PADDING:
            del self.data[: max(1, len(self.data) - len(self.data.lstrip(_PADDING)))]
        return self.holds(len(_JPEG)) and self._begins_image()

    def _begins_image(self) -> bool:
        self.holds(len(_PNG))
        return self.data.startswith((_JPEG, _PNG, _RIFF))


def _end_of_image(buffer: _Buffer) -> int:
    """The number of bytes of the image at the start of a buffer, which holds them afterwards if the stream does."""
    buffer.holds(len(_PNG))
    end = None
    if buffer.data.startswith(_JPEG):
        end = _end_of_jpeg(buffer)
    elif buffer.data.startswith(_PNG):
        end = _end_of_png(buffer)
    elif buffer.data.startswith(_RIFF):
        end = 8 + int.from_bytes(buffer.data[4:8], "little")
        end += end % 2
    if end is None or end > MAX_IMAGE_BYTES or not buffer.holds(end):
        return buffer.holds_all()
    return end


def _end_of_png(buffer: _Buffer) -> int | None:
    at = len(_PNG)
    while buffer.holds(at + 8):
        kind = at + 4
        at += 12 + int.from_bytes(buffer.data[at : at + 4], "big")
        if buffer.data.startswith(b"IEND", kind):
            return at
    return None


def _end_of_jpeg(buffer: _Buffer) -> int | None:
    """The end of a JPEG; of a damaged one, the start of the next."""
    at, further = 2, 0
    while True:
        found = _MARKER.search(buffer.data, at)
        if found is None:
            at = max(at, len(buffer.data) - 1)
            if not buffer.holds(len(buffer.data) + 1):
                return None
            continue
        place, marker = found.start(), buffer.data[found.start() + 1]
        at = place + 2
        del found  # it would keep the buffer from growing
        if marker == _START:
            return place
        if marker == _END:
            return max(at, further)
        if not buffer.holds(at + 2):
            return None
        length = int.from_bytes(buffer.data[at : at + 2], "big")
        if marker == _APP2 and buffer.holds(at + length) and buffer.data.startswith(b"MPF\0", at + 2):
            further = _end_of_pictures(buffer, at + 6, at + length)
        at += max(2, length)


def _end_of_pictures(buffer: _Buffer, base: int, end: int) -> int:
    """Where the last picture of a multi-picture file ends; 0 if the pictures are not where its index says.

    Args:
        base, end: where the index begins, from which its offsets count, and where it ends.
    """
    try:
        order = "<" if buffer.data[base : base + 2] == b"II" else ">"
        (at,) = struct.unpack_from(order + "I", buffer.data, base + 4)
        (count,) = struct.unpack_from(order + "H", buffer.data, base + at)
        last = 0
        for number in range(count):
            tag, _, size, offset = struct.unpack_from(f"{order}HHII", buffer.data, base + at + 2 + 12 * number)
            if tag != _MP_ENTRIES:
                continue
            for entry in range(base + offset, min(base + offset + size, end), _MP_ENTRY):
                length, place = struct.unpack_from(order + "II", buffer.data, entry + 4)
                # The offset of the first picture is 0, and it begins where the file does.
                last = max(last, base + place + length if place else 0)
                if place and not _is_picture(buffer, base + place, length):
                    return 0
    except struct.error:
        return 0
    return last


def _is_picture(buffer: _Buffer, place: int, length: int) -> bool:
    """Whether a JPEG lies there: programs that remove the further pictures leave the index behind."""
    end = place + length
    if end > MAX_IMAGE_BYTES or not buffer.holds(end) or not buffer.data.startswith(_JPEG, place):
        return False
    return buffer.data[max(place, end - _CHUNK) : end].rstrip(b"\0").endswith(bytes((0xFF, _END)))
