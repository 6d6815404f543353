"""Resizes as TensorFlow does: without smoothing, from the pixels around each centre.

`tf.image.resize` takes one pixel (nearest) or four (bilinear) for each pixel of the result, however much smaller that
is, with half-pixel centres. Pillow's filters average all pixels in between, so a model that was trained by Keras's
`image_dataset_from_directory` sees other pictures through them. The arithmetic is that of TensorFlow's kernels, in
single precision: `resize_bilinear_op.cc` and `resize_nearest_neighbor_op.cc` of version 2.21. Crop and pad follow
`crop_to_aspect_ratio` and `pad_to_aspect_ratio` of Keras 3, which crop or pad by whole pixels and resize afterwards.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from .input_spec import TF_NEAREST, ImageInput

_Pixels: TypeAlias = npt.NDArray[np.uint8]

#: Pixels of the image that are copied at a time. Where the image is much larger than the result, these are two rows for
#: each row of the result.
_STRIP_PIXELS = 2**16


class _Axis(NamedTuple):
    """Where the pixels of the result lie along one axis of the image.

    Attributes:
        lower, upper: the places of the two nearest pixels; places outside the image are padding.
        weight: float32, the share of the upper one.
    """

    lower: npt.NDArray[np.intp]
    upper: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float32]


def resize_as_tensorflow(image: Image.Image, spec: ImageInput) -> _Pixels:
    """The pixels of an image in the size of the input, within rounding of those that `tf.image.resize` gives.

    Args:
        image: mode L or RGB, as many channels as the input.
        spec: the contract's input with a filter `tf-bilinear` or `tf-nearest`.

    Returns:
        uint8, shape (height, width, channels), in the order red, green, blue. Beside the image and the result, memory
        for a few rows is needed.
    """
    sides, wanted = (image.size[1], image.size[0]), (spec.height, spec.width)
    nearest = spec.filter == TF_NEAREST
    lengths = _lengths(sides, wanted, spec.resize)
    rows, columns = (
        _axis(length, int((side - length) / 2), target, nearest)
        for side, length, target in zip(sides, lengths, wanted, strict=True)
    )
    fill = np.asarray(Image.new("RGB", (1, 1), spec.background).convert(image.mode)).reshape(-1)
    pixels = np.empty(spec.shape, np.uint8)
    step = max(1, _STRIP_PIXELS // int((lengths[0] / spec.height + 2) * max(image.size[0], spec.width)))
    for top in range(0, spec.height, step):
        part = slice(top, top + step)
        strip = _Axis(rows.lower[part], rows.upper[part], rows.weight[part])
        pixels[part] = _resize_strip(image, strip, columns, fill, nearest)
    return pixels


def _lengths(sides: tuple[int, int], wanted: tuple[int, int], resize: str) -> tuple[int, int]:
    """Height and width of the image after cropping or padding it to the aspect ratio of the result."""
    if resize == "stretch":
        return sides
    height, width = sides
    fitting = [
        int(np.float32(other * own) / np.float32(across))
        for other, own, across in ((width, wanted[0], wanted[1]), (height, wanted[1], wanted[0]))
    ]
    if resize == "crop":
        return max(1, min(height, fitting[0])), max(1, min(width, fitting[1]))
    # The same number of pixels is added on both sides.
    return height + max(0, fitting[0] - height) // 2 * 2, width + max(0, fitting[1] - width) // 2 * 2


def _axis(length: int, start: int, target: int, nearest: bool) -> _Axis:
    """The places along one axis, for `length` pixels from `start` on."""
    centres = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * (np.float32(length) / np.float32(target))
    if nearest:
        lower = np.minimum(np.floor(centres).astype(np.intp), length - 1) + start
        return _Axis(lower, lower, np.zeros(target, np.float32))
    places = centres - np.float32(0.5)
    below = np.floor(places)
    lower = np.maximum(below.astype(np.intp), 0) + start
    upper = np.minimum(np.ceil(places).astype(np.intp), length - 1) + start
    return _Axis(lower, upper, places - below)


def _resize_strip(image: Image.Image, rows: _Axis, columns: _Axis, fill: _Pixels, nearest: bool) -> npt.NDArray[Any]:
    """Some rows of the result, from those rows of the image that they need."""
    width, height = image.size
    first, last = (min(max(int(place), 0), height - 1) for place in (rows.lower[0], rows.upper[-1]))
    strip = np.asarray(image.crop((0, first, width, last + 1))).reshape(last + 1 - first, width, -1)

    def pixels_at(row_places: npt.NDArray[np.intp], column_places: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        taken = strip.take(np.clip(row_places - first, 0, last - first), axis=0)
        taken = taken.take(np.clip(column_places, 0, width - 1), axis=1)
        taken[(row_places < 0) | (row_places >= height)] = fill
        taken[:, (column_places < 0) | (column_places >= width)] = fill
        pixels: npt.NDArray[Any] = taken if nearest else taken.astype(np.float32)
        return pixels

    def mixed(row_places: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        left, right = pixels_at(row_places, columns.lower), pixels_at(row_places, columns.upper)
        across: npt.NDArray[Any] = left + (right - left) * columns.weight[:, np.newaxis]
        return across

    if nearest:
        return pixels_at(rows.lower, columns.lower)
    above, below = mixed(rows.lower), mixed(rows.upper)
    values: npt.NDArray[Any] = np.rint(above + (below - above) * rows.weight[:, np.newaxis, np.newaxis])
    return values
