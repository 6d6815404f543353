"""Any picture to the pixels that a contract asks for.

The same function serves training, evaluation and the device, so that nothing can differ between them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import ImageError
from .files import PathLike, read_regular_file, read_stream
from .image_limits import (
    MAX_IMAGE_BYTES,
    MAX_PIXELS,
    check_decoding,
    checked,
    decoding_room,
    exif_is_too_large,
)
from .input_spec import ImageInput

Pixels: TypeAlias = npt.NDArray[np.uint8]
ImageSource: TypeAlias = PathLike | bytes | bytearray | memoryview | BinaryIO | Image.Image | Pixels

#: What is decoded at all, by its first bytes, and the one module of Pillow that is imported for it. An allow-list:
#: Pillow knows formats that start other programs (EPS).
_PLUGINS = {
    "JPEG": ((b"\xff\xd8\xff",), "JpegImagePlugin", "JpegImageFile"),
    "PNG": ((b"\x89PNG\r\n\x1a\n",), "PngImagePlugin", "PngImageFile"),
    "WEBP": ((b"RIFF",), "WebPImagePlugin", "WebPImageFile"),
    "BMP": ((b"BM",), "BmpImagePlugin", "BmpImageFile"),
    "GIF": ((b"GIF87a", b"GIF89a"), "GifImagePlugin", "GifImageFile"),
    "TIFF": ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TiffImagePlugin", "TiffImageFile"),
}
FORMATS = tuple(_PLUGINS)
#: The names that such files have, in lower case.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")

_EXIF_ORIENTATION = 0x0112
#: What the bytes of a PNG that holds an orientation have in them: names of chunks and of texts are never compressed.
_PNG_ORIENTATION = (b"eXIf", b"exif\0", b"XML:com.adobe.xmp")
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TRANSPOSE = Image.Transpose
_UPRIGHT = {
    2: _TRANSPOSE.FLIP_LEFT_RIGHT,
    3: _TRANSPOSE.ROTATE_180,
    4: _TRANSPOSE.FLIP_TOP_BOTTOM,
    5: _TRANSPOSE.TRANSPOSE,
    6: _TRANSPOSE.ROTATE_270,
    7: _TRANSPOSE.TRANSVERSE,
    8: _TRANSPOSE.ROTATE_90,
}
_FILTERS = {member.name.lower(): member for member in Image.Resampling}
#: EXIF orientations from this one on swap height and width.
_FIRST_ON_ITS_SIDE = 5
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
#: Pixels of which transparency and 16 bits are resolved at once.
_STRIP_PIXELS = 2**20
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")


def load_pixels(image: ImageSource, spec: ImageInput) -> Pixels:
    """Decode, turn upright, flatten, resize: what the contract's geometry and colour fields say.

    Args:
        image: a path, an encoded image's bytes, a binary file object, a PIL image, or a uint8 array of
            shape HxW, HxWx1 (grey) or HxWx3 (red, green, blue). Of an animation or a multi-page file the
            first frame is taken.
        spec: the contract's input.

    Returns:
        uint8 array of shape (height, width, channels), in the spec's colour order. For an array that has
        this shape already it is the array itself, or a view of it.

    Raises:
        ImageError: it cannot be read or decoded, or exceeds a limit.

    Example:
        >>> load_pixels("seven.png", ImageInput(96, 96, "rgb")).shape
        (96, 96, 3)
    """
    if isinstance(image, np.ndarray):
        return _array_pixels(image, spec)
    name, size = "image", 0
    if not isinstance(image, Image.Image):
        data, name = _read(image)
        image, size = _open(data, name), len(data)
    try:
        # One name for them all: what a step no longer needs is freed before the next.
        image = _reduce(image, spec)
        with decoding_room(check_decoding(image, size, spec.channels, turns=False)):
            image = _decode(image, spec, size)
            image = _flatten(image, spec)
            return _ordered(_resize(image, spec), spec)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's decoders raise a dozen unrelated kinds on damaged files
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{name}: cannot be decoded: {detail}") from error


class ImageHeader(NamedTuple):
    """What an image says of itself before it is decoded: its size when upright, and whether it has no colour."""

    height: int
    width: int
    is_grey: bool


def read_header(image: PathLike | bytes) -> ImageHeader:
    """The header of an image file; raises ImageError as `load_pixels` does for what cannot be opened.

    Args:
        image: the file's path, or its bytes.
    """
    data, name = _read(image)
    opened = _open(data, name)
    try:
        orientation = _header_orientation(opened, data)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    width, height = _stored_size(opened)
    if orientation >= _FIRST_ON_ITS_SIDE:
        width, height = height, width
    return ImageHeader(height, width, opened.mode in _GREY_MODES)


def _read(image: Any) -> tuple[bytes, str]:
    if isinstance(image, bytes | bytearray | memoryview):
        if len(image) > MAX_IMAGE_BYTES:
            raise ImageError(f"image (bytes): larger than {MAX_IMAGE_BYTES // 2**20} MiB, the limit")
        return bytes(image), "image (bytes)"
    if hasattr(image, "read"):
        name = "image (file object)"
        return read_stream(image, MAX_IMAGE_BYTES, ImageError, name), name
    if isinstance(image, str | os.PathLike):
        return read_regular_file(image, MAX_IMAGE_BYTES, ImageError)
    raise ImageError(
        f"image is a {type(image).__name__}, expected a path, bytes, a binary file object, a PIL image or an array"
    )


def _open(data: bytes, name: str) -> Image.Image:
    if not data:
        raise ImageError(f"{name}: empty file")
    try:
        opener = _opener(data)
        if opener is None:
            raise ImageError(f"not an image of a known format ({', '.join(FORMATS)})")
        # From memory: Pillow maps files that it opens by path, and a map of a file cut short kills the process.
        image = opener(checked(data))
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's parsers raise a dozen unrelated kinds
        raise ImageError(f"{name}: cannot be opened: {error}") from error
    # Pillow takes a PNG without its end for a whole one, with whatever rows are there.
    if image.format == "PNG" and b"IEND" not in data[-4096:]:
        raise ImageError(f"{name}: truncated PNG, its end is missing")
    return image


def _opener(data: bytes) -> Callable[[BinaryIO], Image.Image] | None:
    """What opens such a file. Image.open would import five formats to open one, and try each in turn."""
    for signatures, module, opener in _PLUGINS.values():
        if data.startswith(signatures):
            return cast(Callable[[BinaryIO], Image.Image], getattr(importlib.import_module(f"PIL.{module}"), opener))
    return None


def _reduce(image: Image.Image, spec: ImageInput) -> Image.Image:
    """Have a JPEG that is much larger than wanted decoded at reduced scale."""
    # At least the wanted size is left for the filter; the larger side serves both, upright or not. No margin: with the
    # filter hamming a larger intermediate image gains no accuracy (tests/unit/runtime/test_classifier.py).
    wanted = max(spec.height, spec.width)
    image.draft("L" if spec.channels == 1 else None, (wanted, wanted))
    return image


def _decode(image: Image.Image, spec: ImageInput, size: int) -> Image.Image:
    """Decode, and turn upright."""
    # Before the orientation is asked for, which may stand behind the pixels: damage to these would be passed over.
    image.load()
    orientation = _orientation(image)
    if orientation not in _UPRIGHT:
        return image
    check_decoding(image, size, spec.channels, turns=True)
    return image.transpose(_UPRIGHT[orientation])


def _orientation(image: Image.Image) -> int:
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return 1  # known already; asking would import the parser of EXIF, and keep every answer waiting for it
    if exif_is_too_large(image):
        return 1
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block says nothing about the picture, which viewers then show as it is
        return 1
    return value if isinstance(value, int) else 1


def _header_orientation(image: Image.Image, data: bytes) -> int:
    """As `_orientation`, of an image that is not decoded."""
    if image.format == "JPEG":
        return _orientation(image)
    needed = check_decoding(image, len(data), 3, turns=False)
    if image.format != "PNG":
        return _orientation(image)
    if not any(mark in data for mark in _PNG_ORIENTATION):
        return 1
    with decoding_room(needed):  # it may stand behind the pixels, and Pillow decodes them to come there
        return _orientation(image)


def _stored_size(image: Any) -> tuple[int, int]:
    """(width, height) before it is turned; of a TIFF on its side newer Pillows say what they will be afterwards."""
    if image.format == "TIFF":
        return int(image.tag_v2[_TIFF_WIDTH]), int(image.tag_v2[_TIFF_HEIGHT])
    width, height = image.size
    return width, height


def _flatten(image: Image.Image, spec: ImageInput) -> Image.Image:
    """To 8-bit grey or RGB, transparency over the spec's background."""
    mode = "L" if spec.channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _in_strips(image, "L", _from_16_bit).convert(mode)
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined range; save it as 8- or 16-bit")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _in_strips(image, mode, lambda strip: _on_background(strip, spec).convert(mode))
    # Some conversions take a way round: CMYK becomes grey by way of a whole picture in colour.
    return _in_strips(image, mode, lambda strip: strip.convert(mode))


def _in_strips(image: Image.Image, mode: str, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """`change`, which works pixel by pixel, on a few rows at a time: what it needs on its way then stays small."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    if rows >= height:
        return change(image)
    changed = Image.new(mode, image.size)
    for top in range(0, height, rows):
        box = (0, top, width, min(height, top + rows))
        changed.paste(change(image.crop(box)), box)
    return changed


def _on_background(image: Image.Image, spec: ImageInput) -> Image.Image:
    canvas = Image.new("RGBA", image.size, (*spec.background, 255))
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255; Pillow's own conversion would clip at 255."""
    values = np.asarray(image)
    if values.dtype != np.uint16 and (values.min() < 0 or values.max() > 65535):
        raise ImageError("32-bit integer pixels beyond 16 bits; save it as 8- or 16-bit")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _resize(image: Image.Image, spec: ImageInput) -> Image.Image:
    size = (spec.width, spec.height)
    if image.size == size:
        return image
    resample = _FILTERS[spec.filter]
    if spec.resize == "stretch":
        return image.resize(size, resample)
    width, height = image.size
    ratios = (spec.width / width, spec.height / height)
    if spec.resize == "crop":
        ratio = max(ratios)
        box_width, box_height = min(width, spec.width / ratio), min(height, spec.height / ratio)
        left, top = (width - box_width) / 2, (height - box_height) / 2
        return image.resize(size, resample, box=(left, top, left + box_width, top + box_height))
    ratio = min(ratios)
    inner = (
        min(spec.width, max(1, round(width * ratio))),
        min(spec.height, max(1, round(height * ratio))),
    )
    canvas = Image.new("RGB", size, spec.background).convert(image.mode)
    canvas.paste(image.resize(inner, resample), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas


def _ordered(image: Image.Image, spec: ImageInput) -> Pixels:
    # What np.asarray does too, in half the time for a small one.
    pixels: Pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(spec.shape)
    if spec.channels == 1:
        return pixels
    return pixels[:, :, ::-1] if spec.colour == "bgr" else pixels


def _array_pixels(array: npt.NDArray[Any], spec: ImageInput) -> Pixels:
    shape = array.shape
    if array.dtype != np.uint8:
        raise ImageError(f"array: dtype {array.dtype}, expected uint8 pixels from 0 to 255")
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))) or 0 in shape:
        raise ImageError(f"array: shape {shape}, expected HxW, HxWx1 or HxWx3")
    grey = len(shape) == 2 or shape[2] == 1
    if shape[:2] == (spec.height, spec.width) and grey == (spec.channels == 1):
        pixels = array.reshape(spec.shape)
        return pixels[:, :, ::-1] if spec.colour == "bgr" else pixels
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ImageError(f"array: {shape[1]} x {shape[0]} pixels, more than {MAX_PIXELS // 10**6} million, the limit")
    image = Image.fromarray(np.ascontiguousarray(array.reshape(shape[:2]) if grey else array))
    return _ordered(_resize(_flatten(image, spec), spec), spec)
