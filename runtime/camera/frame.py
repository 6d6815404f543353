"""A frame of a camera, with its times; and regions of frames."""

from __future__ import annotations

import io
import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..array_images import pixels_of_yuv420
from ..errors import ImageError, describe
from ..image_formats import open_encoded
from ..image_limits import check_decoding
from ..image_orientation import UPRIGHT, orientation_of
from ..images import Pixels
from ..memory import DecodingRoom

_JPEG_START = b"\xff\xd8\xff"
_JPEG_QUALITY = 90

#: What a source gives: an encoded picture or an array, and the array's layout, as `Classifier.classify` takes them.
Picture: TypeAlias = tuple[bytes | Pixels, str | None]


class Region(NamedTuple):
    """A part of a picture, in shares of its width and height.

    Attributes:
        x, y: the left and upper edge, 0 to 1.
        width, height: above 0; `x + width` and `y + height` are at most 1.

    Example:
        >>> Region.parse("0.5,0,0.5,1").box(640, 480)
        (320, 0, 640, 480)
    """

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> Region:
        """The region of a text such as `0.5,0,0.5,1`; raises ValueError."""
        try:
            region = cls(*(float(word) for word in text.split(",")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{text!r} is no region; expected x,y,width,height, such as 0.5,0,0.5,1") from error
        inside = all(0 <= start < 1 and 0 < size <= 1 - start + 1e-9 for start, size in (region[::2], region[1::2]))
        if not inside:  # NaN is not inside either
            raise ValueError(
                f"{text!r}: a region lies within the picture, in shares from 0 to 1 of its width and height: "
                "x,y,width,height"
            )
        return region

    def box(self, width: int, height: int, step: int = 1) -> tuple[int, int, int, int]:
        """(left, upper, right, lower) in pixels, multiples of `step`; at least one step wide and high."""

        def edges(start: float, size: float, whole: int) -> tuple[int, int]:
            first = min(round(start * whole / step) * step, whole - step)
            last = min(round((start + size) * whole / step) * step, whole)
            return first, max(last, first + step)

        (left, right), (upper, lower) = edges(self.x, self.width, width), edges(self.y, self.height, height)
        return left, upper, right, lower


class Frame(NamedTuple):
    """A picture of a camera.

    Attributes:
        image: an encoded picture, such as a JPEG, or a uint8 array, for `classifier.classify(frame.image,
            layout=frame.layout)`.
        layout: what an array holds, as for `Classifier.classify`; None for encoded pictures and grey arrays.
        time: when it was complete, in seconds since 1970.
        clock: the same moment of `time.monotonic`, which no one sets.
        source: the name of the camera, stream or file.
        number: counts the frames of a source from 1; frames that were dropped are counted.
    """

    image: bytes | Pixels
    layout: str | None
    time: float
    clock: float
    source: str
    number: int

    def jpeg(self) -> bytes:
        """The picture as a JPEG: as it was captured if it is one, otherwise encoded; raises ImageError."""
        if isinstance(self.image, bytes) and self.image.startswith(_JPEG_START):
            return self.image
        if isinstance(self.image, bytes):
            picture = _decoded(self.image, None, (0, 0), self.source)
        else:
            picture = Image.fromarray(_as_rgb_or_grey(self.image, self.layout))
        buffer = io.BytesIO()
        try:
            picture = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
            picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        except (OSError, ValueError) as error:
            raise ImageError(f"{self.source}: cannot be encoded: {describe(error)}") from error
        return buffer.getvalue()

    def part(self, region: Region, size: tuple[int, int]) -> tuple[Any, str | None]:
        """A region as an image for `Classifier.scores`, with its layout.

        Args:
            region: the part to cut out.
            size: (width, height) that the part needs at least; a JPEG is decoded at a reduced scale that has it.

        Raises:
            ImageError: the frame cannot be decoded.
        """
        if isinstance(self.image, bytes):
            return _decoded(self.image, region, size, self.source), None
        return cut_array(self.image, self.layout, region), self.layout

    def small_grey(self, region: Region | None, side: int) -> npt.NDArray[np.float32]:
        """A small grey copy of a region, its longer side at most `side` pixels; float32, shape (height, width)."""
        if isinstance(self.image, bytes):
            picture = _decoded(self.image, region, (side, side), self.source, grey=True)
        else:
            array = cut_array(self.image, self.layout, region) if region else self.image
            if self.layout == "yuv420":
                array = array[: array.shape[0] // 3 * 2]
            elif array.ndim == 3:
                array = array[:, :, 1]  # green is most of what an eye calls brightness
            picture = Image.fromarray(np.ascontiguousarray(array))
        factor = math.ceil(max(picture.size) / side)
        return np.asarray(picture.reduce(factor) if factor > 1 else picture, np.float32)


def cut_array(array: Pixels, layout: str | None, region: Region) -> Pixels:
    """A region of an array; for yuv420 its edges are even, as the colours have half the size."""
    if layout != "yuv420":
        left, upper, right, lower = region.box(array.shape[1], array.shape[0])
        return array[upper:lower, left:right]
    height, width = array.shape[0] // 3 * 2, array.shape[1]
    left, upper, right, lower = region.box(width, height, 2)
    colours = array[height:].reshape(2, height // 2, width // 2)
    cut = colours[:, upper // 2 : lower // 2, left // 2 : right // 2]
    return joined_planes(array[upper:lower, left:right], cut)


def joined_planes(luma: Pixels, colours: Pixels) -> Pixels:
    """One array of YUV420, 1.5 HxW, of the luma HxW and both planes of colour, 2 x H/2 x W/2."""
    height, width = luma.shape
    joined = np.empty((height // 2 * 3, width), np.uint8)
    joined[:height] = luma
    joined[height:] = colours.reshape(height // 2, width)
    return joined


def _as_rgb_or_grey(array: Pixels, layout: str | None) -> Pixels:
    if layout == "yuv420":
        return pixels_of_yuv420(array)
    return np.ascontiguousarray(array[:, :, ::-1] if layout == "bgr" else array)


def _decoded(
    data: bytes, region: Region | None, size: tuple[int, int], name: str, *, grey: bool = False
) -> Image.Image:
    """An encoded picture, upright, or a region of it; a JPEG at the smallest scale at which it has `size`."""
    try:
        with DecodingRoom() as room:
            return _decoded_in_room(data, region, size, name, room, "L" if grey else None)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen unrelated kinds on damaged files
        raise ImageError(f"{name}: cannot be decoded: {describe(error)}") from error


def _decoded_in_room(
    data: bytes, region: Region | None, size: tuple[int, int], name: str, room: DecodingRoom, mode: str | None
) -> Image.Image:
    room.reserve_file(len(data))
    image, (_, taken, *_rest) = open_encoded(data, name, room)
    if any(size):
        share = (region.width, region.height) if region else (1, 1)
        wanted = max(math.ceil(side / part) for side, part in zip(size, share, strict=True))
        image.draft(mode, (wanted, wanted))
    room.reserve(check_decoding(image, taken, 1 if mode else 3, turns=False))
    image.load()
    turn = UPRIGHT.get(orientation_of(image))
    if turn is not None:
        image = image.transpose(turn)
    if region is not None:
        image = image.crop(region.box(*image.size))
    # The classifier would turn it once more.
    image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    return image.convert(mode) if mode else image
