"""Arrays of pixels, as cameras and other libraries give them: checked, and brought into the order red, green, blue."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import ImageError
from .image_limits import MAX_PIXELS
from .input_spec import ImageInput

_Pixels: TypeAlias = npt.NDArray[np.uint8]

#: The layouts that a caller can name, each with its number of channels; 0 for planes of different sizes.
LAYOUTS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "yuv420": 0}

#: Bytes a pixel of all copies, by layout: arrays take 3 for three channels, Pillow's images 4.
_COPIES = {None: 8, "rgba": 23, "bgra": 27, "yuv420": 20}


def check_layout(layout: str | None) -> None:
    """Raise ValueError for an unknown layout; None is accepted."""
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"`layout` is {layout!r}, expected one of {', '.join(LAYOUTS)}")


def pixels_of_array(array: npt.NDArray[Any], spec: ImageInput, layout: str | None) -> _Pixels:
    """The pixels of an array, in their own size.

    Args:
        array: uint8, of shape HxW or HxWx1 (grey), HxWx3, or with a layout that says so HxWx4, or 1.5 HxW: the planes
            Y, U and V of YUV420 below each other, as picamera2 gives them (full range, BT.601, as in a JPEG).
        spec: the contract's input: its background stands under transparent pixels, and its colour decides whether the
            colour of YUV420 is computed.
        layout: one of `LAYOUTS`, or None.

    Returns:
        uint8, shape (H, W, 1) for grey or (H, W, 3) in the order red, green, blue; a view of the array if possible.

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
    if grey:
        return array.reshape(*shape[:2], 1)
    if layout in ("bgr", "bgra"):
        array = array[:, :, [2, 1, 0, 3]] if layout == "bgra" else array[:, :, ::-1]
    return array if array.shape[2] == 3 else _on_background(array, spec)


def copied_bytes(array: npt.NDArray[Any], layout: str | None) -> int:
    """The bytes of all copies that converting and resizing an array needs, the array itself not included."""
    pixels = array.shape[0] * array.shape[1] if array.ndim > 1 else 0
    return pixels * _COPIES.get(layout, _COPIES[None])


def _check_size(shape: tuple[int, ...]) -> None:
    if len(shape) > 1 and shape[0] * shape[1] > MAX_PIXELS:
        raise ImageError(f"array: {shape[1]} x {shape[0]} pixels, more than {MAX_PIXELS // 10**6} million, the limit")


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
    if not array[:, :, 3].any():  # a camera's fourth byte, which is not used
        return array[:, :, :3]
    canvas = Image.new("RGBA", (array.shape[1], array.shape[0]), (*spec.background, 255))
    canvas.alpha_composite(Image.fromarray(np.ascontiguousarray(array)))
    return np.asarray(canvas.convert("RGB"))


def _from_yuv420(array: _Pixels, spec: ImageInput) -> _Pixels:
    shape = array.shape[:2] if array.ndim == 3 and array.shape[2] == 1 else array.shape
    if len(shape) != 2 or shape[0] % 3 or shape[1] % 2 or 0 in shape:
        raise ImageError(
            f"array: shape {array.shape}, and `layout=yuv420` is for 1.5 HxW with an even height and width"
        )
    height, width = shape[0] // 3 * 2, shape[1]
    luma = array.reshape(shape)[:height]
    if spec.channels == 1:
        return luma.reshape(height, width, 1)
    planes = array.reshape(-1)[height * width :].reshape(2, height // 2, width // 2)
    colours = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in planes]
    return np.asarray(Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(luma)), *colours]).convert("RGB"))
