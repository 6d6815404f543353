"""Arrays of pixels, as cameras and other libraries give them: checked, and brought into the order red, green, blue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import ImageError
from .image_limits import MAX_IMAGE_SIDE, MAX_PIXELS
from .input_spec import ImageInput

_Pixels: TypeAlias = npt.NDArray[np.uint8]

#: The layouts that a caller can name, each with its number of channels; 0 for planes of different sizes.
LAYOUTS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "yuv420": 0}

#: The most bytes a pixel of all copies while some rows are converted, whatever their layout.
ROW_BYTES = 32


def check_layout(layout: str | None) -> None:
    """Raise ValueError for an unknown layout; None is accepted."""
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"`layout` is {layout!r}, expected one of {', '.join(LAYOUTS)}")


class ArrayRows(NamedTuple):
    """An array that has been checked, whose pixels can be taken some rows at a time.

    Attributes:
        height, width: its size in pixels.
        channels: 1 or 3.
        rows: the pixels of the rows from one number to another, both even or at the end: uint8, shape (rows, width,
            channels), in the order red, green, blue; a view of the array if possible.
    """

    height: int
    width: int
    channels: int
    rows: Callable[[int, int], _Pixels]


def rows_of_array(array: npt.NDArray[Any], spec: ImageInput, layout: str | None) -> ArrayRows:
    """Check an array.

    Args:
        array: uint8, of shape HxW or HxWx1 (grey), HxWx3, or with a layout that says so HxWx4, or 1.5 HxW: the planes
            Y, U and V of YUV420 below each other, as picamera2 gives them (full range, BT.601, as in a JPEG).
        spec: the contract's input: its background stands under transparent pixels, and its colour decides whether the
            colour of YUV420 is computed.
        layout: one of `LAYOUTS`, or None.

    Raises:
        ImageError: another type, another shape, or too many pixels.
        ValueError: an unknown layout.
    """
    check_layout(layout)
    shape = array.shape
    if array.dtype != np.uint8:
        raise ImageError(f"array: dtype {array.dtype}, expected uint8 pixels from 0 to 255; {_conversion(array)}")
    if layout == "yuv420":
        _check_size(shape)
        return _from_yuv420(array, spec)
    channels = LAYOUTS[layout] if layout else 0
    if channels and (len(shape) != 3 or shape[2] != channels):
        raise ImageError(f"array: shape {shape}, and `layout={layout}` is for HxWx{channels}")
    if len(shape) == 3 and shape[2] == 4 and not channels:
        raise ImageError(
            f"array: shape {shape} has four channels; say which they are by `layout=rgba` or `layout=bgra`"
        )
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))) or 0 in shape:
        raise ImageError(f"array: shape {shape}, expected HxW, HxWx1 or HxWx3")
    grey = len(shape) == 2 or shape[2] == 1
    if grey and 1 in shape[:2] and shape[:2] != (spec.height, spec.width):
        raise ImageError(f"array: shape {shape} is no image; if it holds an encoded image, give `array.tobytes()`")
    _check_size(shape)
    height, width = int(shape[0]), int(shape[1])
    if grey:
        whole = array.reshape(height, width, 1)
        return ArrayRows(height, width, 1, lambda top, bottom: whole[top:bottom])
    # A camera's fourth byte, if it is not used, is zero everywhere.
    if array.shape[2] == 4 and array[:, :, 3].any():
        order = [2, 1, 0, 3] if layout == "bgra" else slice(None)
        return ArrayRows(height, width, 3, lambda top, bottom: _on_background(array[top:bottom, :, order], spec))
    colours = array[:, :, :3][:, :, ::-1] if layout in ("bgr", "bgra") else array[:, :, :3]
    return ArrayRows(height, width, 3, lambda top, bottom: colours[top:bottom])


def _check_size(shape: tuple[int, ...]) -> None:
    if len(shape) > 1 and shape[0] * shape[1] > MAX_PIXELS:
        raise ImageError(f"array: {shape[1]} x {shape[0]} pixels, more than {MAX_PIXELS // 10**6} million, the limit")
    if max(shape[:2], default=0) > MAX_IMAGE_SIDE:
        raise ImageError(f"array: shape {shape}, a side of more than {MAX_IMAGE_SIDE:,}, the limit")


def _conversion(array: npt.NDArray[Any]) -> str:
    """The expression that makes uint8 pixels of an array of another type."""
    if array.dtype == np.bool_:
        return "convert it by `array.astype('uint8') * 255`"
    if array.dtype == np.uint16:
        return "convert it by `(array // 257).astype('uint8')` if its values go up to 65535"
    if array.dtype.kind != "f" or array.size == 0:
        return "convert it by `array.astype('uint8')` if its values are from 0 to 255"
    least, most = float(np.nanmin(array)), float(np.nanmax(array))
    if least >= 0 and most <= 1:
        return "convert it by `(array * 255).round().astype('uint8')`, as its values are from 0 to 1"
    if least >= -1 and most <= 1:
        return "convert it by `((array + 1) * 127.5).round().astype('uint8')`, as its values are from -1 to 1"
    return "convert it by `array.round().clip(0, 255).astype('uint8')` if its values are from 0 to 255"


def _on_background(array: _Pixels, spec: ImageInput) -> _Pixels:
    """RGBA as RGB over the spec's background."""
    canvas = Image.new("RGBA", (array.shape[1], array.shape[0]), (*spec.background, 255))
    canvas.alpha_composite(Image.fromarray(np.ascontiguousarray(array)))
    return np.asarray(canvas.convert("RGB"))


def pixels_of_yuv420(array: _Pixels) -> _Pixels:
    """The pixels HxWx3 of an array of YUV420, as `rows_of_array` reads it; raises ImageError."""
    found = _from_yuv420(array, ImageInput(1, 1))
    return found.rows(0, found.height)


def _from_yuv420(array: _Pixels, spec: ImageInput) -> ArrayRows:
    shape = array.shape[:2] if array.ndim == 3 and array.shape[2] == 1 else array.shape
    if len(shape) != 2 or shape[0] % 3 or shape[1] % 2 or 0 in shape:
        raise ImageError(
            f"array: shape {array.shape}, and `layout=yuv420` is for 1.5 HxW with an even height and width"
        )
    height, width = shape[0] // 3 * 2, shape[1]
    luma = array.reshape(shape)[:height]
    if spec.channels == 1:
        grey = luma.reshape(height, width, 1)
        return ArrayRows(height, width, 1, lambda top, bottom: grey[top:bottom])
    planes = array.reshape(-1)[height * width :].reshape(2, height // 2, width // 2)
    colours = [Image.fromarray(plane) for plane in planes]

    def rows(top: int, bottom: int) -> _Pixels:
        # With a row more on both sides, which bilinear filtering looks at.
        first, last = max(0, top // 2 - 1), min(height // 2, bottom // 2 + 1)
        part, size = (0, top - 2 * first, width, bottom - 2 * first), (width, 2 * (last - first))
        bands = [
            plane.crop((0, first, width // 2, last)).resize(size, Image.Resampling.BILINEAR).crop(part)
            for plane in colours
        ]
        grey = Image.fromarray(np.ascontiguousarray(luma[top:bottom]))
        return np.asarray(Image.merge("YCbCr", [grey, *bands]).convert("RGB"))

    return ArrayRows(height, width, 3, rows)
