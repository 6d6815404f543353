"""Turns any image into the pixels that a contract asks for.

Training, evaluation and the device all call the same function, so that nothing can differ between them.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import ImageError
from .files import BYTES_NAME, PathLike, read_file_object, read_regular_file
from .image_formats import PLOT_MARK, open_encoded
from .image_limits import MAX_IMAGE_BYTES, is_turned_by_channel
from .image_orientation import FIRST_ON_ITS_SIDE, decode, header_orientation, needed_bytes, stored_size
from .input_spec import EXIF, PICKING_FILTERS, TF_FILTERS, ImageInput
from .memory import DecodingRoom, free_locals, trim_heap

Pixels: TypeAlias = npt.NDArray[np.uint8]
ImageSource: TypeAlias = PathLike | bytes | bytearray | memoryview | BinaryIO | Image.Image | Pixels

_Result = TypeVar("_Result")

_FILTERS = {member.name.lower(): member for member in Image.Resampling}
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
#: Transparency and 16-bit values are converted for this number of pixels at a time.
_STRIP_PIXELS = 2**18
#: A file from this size on is free before its pixels are changed.
_LARGE_FILE_BYTES = 2 * 10**6
#: The shapes of arrays behind height and width, by the number of channels.
_CHANNEL_AXES = {1: ((), (1,)), 3: ((3,),)}
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")


def load_pixels(image: ImageSource, spec: ImageInput, layout: str | None = None) -> Pixels:
    """Decode an image, turn it upright, flatten and resize it, as the contract's fields say.

    Args:
        image: a path, an encoded image's bytes, a binary file object, a PIL image, or a uint8 array of
            shape HxW, HxWx1 (grey) or HxWx3 (red, green, blue). An animation or a multi-page file gives its
            first frame.
        spec: the contract's input.
        layout: what an array holds, one of `array_images.LAYOUTS`; grey or rgb by default, by its number of
            channels. It is not used for files and PIL images, which state their own.

    Returns:
        A uint8 array of shape (height, width, channels), in the spec's colour order. An array that has this shape
        already is returned itself, or as a view.

    Raises:
        ImageError: it cannot be read or decoded, or exceeds a limit.

    Example:
        >>> load_pixels("seven.png", ImageInput(96, 96, "rgb")).shape
        (96, 96, 3)
    """
    if isinstance(image, np.ndarray):
        return _array_pixels(image, spec, layout)
    return _in_room(_file_pixels, image, spec)


def _file_pixels(image: Any, spec: ImageInput, room: DecodingRoom) -> Pixels:
    name, data, size, may_be_turned, file = "image", b"", 0, True, None
    if not isinstance(image, Image.Image):
        data, name = _read(image, room)
        room.reserve_file(len(data))
        image, (file, size, _, may_be_turned) = open_encoded(data, name, room)
        if _is_plot(image):
            _log_plot(name)
    try:
        # One name for all steps, so that each intermediate image is freed before the next step.
        image = _reduce(image, spec)
        is_deep = _has_16_bits(image)
        room.reserve(needed_bytes(image, spec, size, may_be_turned))
        turn = decode(image, spec, is_own=file is not None, may_be_turned=may_be_turned)
        if file is not None:
            file.close()
            if len(data) > _LARGE_FILE_BYTES:
                data = b""
                trim_heap()
        image = _flatten(image, spec)
        if turn is not None and not is_turned_by_channel(image.size, spec.channels):
            image, turn = image.transpose(turn), None
        pixels = _sized(image, spec) if turn is None else _turned_and_sized(image, turn, spec)
        if is_deep:
            from .image_depth import warn_if_dark

            warn_if_dark(pixels, name)
        return pixels
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's decoders raise a dozen unrelated kinds on damaged files
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{name}: cannot be decoded: {detail}") from error


def _is_plot(image: Image.Image) -> bool:
    """Whether an image file that has been opened is a plot of our own."""
    return image.format == "PNG" and PLOT_MARK.items() <= image.info.items()


def _log_plot(name: str) -> None:
    import logging  # here: hardly an image is a plot

    # A warning, since Python prints it on standard error even where nobody has set up logging.
    message = "%s: a plot that Pocketlens drew, not an image; `pocketlens data save` writes the image itself"
    logging.getLogger(__name__).warning(message, name)


class ImageHeader(NamedTuple):
    """An image's header, read without decoding.

    Attributes:
        height, width: its size, after turning where the orientation is obeyed.
        is_grey: whether it has no colour.
        orientation: its EXIF orientation, 1 to 8; 1 stands for upright.
        has_16_bits: whether its values have 16 bits.
        is_plot: whether it is a plot that Pocketlens drew.
    """

    height: int
    width: int
    is_grey: bool
    orientation: int
    has_16_bits: bool
    is_plot: bool


def read_header(image: PathLike | bytes, orientation: str = EXIF) -> ImageHeader:
    """The header of an image file; raises ImageError as `load_pixels` does for a file that cannot be opened.

    Args:
        image: the file's path, or its bytes.
        orientation: the field of the contract's input.
    """
    return _in_room(_header, image, orientation)


def _in_room(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call `function(*arguments, room)`; what it has used is free when the room is given back."""
    outer = sys.exc_info()[1]
    with DecodingRoom() as room:
        try:
            return function(*arguments, room)
        except BaseException as error:
            free_locals(error, outer)  # a caller may keep the error, and with it the file and its pixels
            raise


def _header(image: Any, orientation: str, room: DecodingRoom) -> ImageHeader:
    data, name = _read(image, room)
    room.reserve_file(len(data))
    opened, blocks = open_encoded(data, name, room)
    try:
        tag = header_orientation(opened, blocks, room)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    width, height = stored_size(opened)
    if orientation == EXIF and tag >= FIRST_ON_ITS_SIDE:
        width, height = height, width
    return ImageHeader(height, width, opened.mode in _GREY_MODES, tag, _has_16_bits(opened), _is_plot(opened))


def _read(image: Any, room: DecodingRoom) -> tuple[bytes, str]:
    if isinstance(image, bytes | bytearray | memoryview):
        if len(image) > MAX_IMAGE_BYTES:
            raise ImageError(f"{BYTES_NAME}: larger than {MAX_IMAGE_BYTES // 2**20} MiB, the limit")
        return bytes(image), BYTES_NAME
    if hasattr(image, "read"):
        name = "image (file object)"
        room.reserve_file(_size_of(image))
        return read_file_object(image, MAX_IMAGE_BYTES, ImageError, name), name
    if isinstance(image, str | os.PathLike):
        return read_regular_file(image, MAX_IMAGE_BYTES, ImageError, room.reserve_file)
    raise ImageError(
        f"image is a {type(image).__name__}, expected a path, bytes, a binary file object, a PIL image or an array"
    )


def _size_of(file: Any) -> int:
    """The bytes of a regular file that is open; 0 for others, which may make their reader wait for long."""
    try:
        found = os.fstat(file.fileno())
    except Exception:  # the caller's object may lack the method, and may raise anything
        return 0
    return min(found.st_size, MAX_IMAGE_BYTES) if stat.S_ISREG(found.st_mode) else 0


def _has_16_bits(image: Image.Image) -> bool:
    """Whether a value of an image that is not decoded yet has 16 bits."""
    if image.mode.startswith("I"):
        return image.format is not None  # one made from an array may have 8 bits
    # Pillow reads 16-bit colour as 8-bit, and only the decoder's arguments tell; BGR;16 has 16 bits a pixel.
    arguments = str(getattr(image, "tile", ""))
    return ";16" in arguments and "BGR;16" not in arguments


def _reduce(image: Image.Image, spec: ImageInput) -> Image.Image:
    """Let a JPEG be decoded at reduced scale if it is much larger than needed, and in grey if that is enough."""
    # The reduced image is at least as large as the input; the larger side is right before and after turning. No margin:
    # with the filter hamming a larger intermediate image gains no accuracy (tests/unit/runtime/test_classifier.py).
    wanted = max(spec.height, spec.width)
    # Single pixels of the full size are no longer there in a reduced image.
    size = None if spec.filter in PICKING_FILTERS else (wanted, wanted)
    image.draft("L" if spec.channels == 1 else None, size)
    return image


def _flatten(image: Image.Image, spec: ImageInput) -> Image.Image:
    """Convert to 8-bit grey or RGB; transparent pixels are put over the spec's background."""
    mode = "L" if spec.channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        from .image_depth import conversion_to_8_bit  # here: few images have more than 8 bits

        return _in_strips(image, "L", conversion_to_8_bit(image)).convert(mode)
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined range; save it as 8- or 16-bit")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _in_strips(image, mode, lambda strip: _on_background(strip, spec).convert(mode))
    if image.mode == "LAB":  # Pillow has no direct way from it to grey
        return _in_strips(image, mode, lambda strip: strip.convert("RGB").convert(mode))
    # Some conversions need an intermediate image: CMYK becomes RGB before it becomes grey.
    return _in_strips(image, mode, lambda strip: strip.convert(mode))


def _in_strips(image: Image.Image, mode: str, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Apply `change`, which works pixel by pixel, to a few rows at a time, so that it needs little memory."""
    width, height = image.size
    if _STRIP_PIXELS // width >= height:
        return change(image)
    return _joined(image.size, mode, lambda top, bottom: change(image.crop((0, top, width, bottom))))


def _joined(size: tuple[int, int], mode: str, rows: Callable[[int, int], Image.Image]) -> Image.Image:
    """An image of a mode, from images of the rows from an even number to another or the end."""
    width, height = size
    step = max(2, _STRIP_PIXELS // width // 2 * 2)
    joined = Image.new(mode, size)
    for top in range(0, height, step):
        bottom = min(height, top + step)
        joined.paste(rows(top, bottom), (0, top, width, bottom))
    return joined


def _on_background(image: Image.Image, spec: ImageInput) -> Image.Image:
    canvas = Image.new("RGBA", image.size, (*spec.background, 255))
    # Pillow knows no direct way from premultiplied grey.
    canvas.alpha_composite((image.convert("LA") if image.mode == "La" else image).convert("RGBA"))
    return canvas


def _sized(image: Image.Image, spec: ImageInput) -> Pixels:
    """The pixels of a flattened image in the input's size and order of colours."""
    if spec.filter in TF_FILTERS and image.size != (spec.width, spec.height):
        from .tensorflow_resize import resize_as_tensorflow  # here: most models need none of it

        pixels = resize_as_tensorflow(image, spec)
    else:
        # The same as np.asarray, in half the time for a small image.
        pixels = np.frombuffer(_resize(image, spec).tobytes(), np.uint8).reshape(spec.shape)
    return pixels[:, :, ::-1] if spec.colour == "bgr" else pixels


def _turned_and_sized(image: Image.Image, turn: Image.Transpose, spec: ImageInput) -> Pixels:
    """`_sized` for a colour image that must be turned first: one channel at a time, which takes less memory."""
    channels = []
    for number, value in enumerate(spec.background):
        grey = ImageInput(
            spec.height, spec.width, "grey", resize=spec.resize, filter=spec.filter, background=(value,) * 3
        )
        channels.append(_sized(image.getchannel(number).transpose(turn), grey))
    return np.concatenate(channels[::-1] if spec.colour == "bgr" else channels, axis=2)


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


def _array_pixels(array: npt.NDArray[Any], spec: ImageInput, layout: str | None) -> Pixels:
    plain = layout is None and array.dtype == np.uint8
    if plain and array.shape[:2] == (spec.height, spec.width) and array.shape[2:] in _CHANNEL_AXES[spec.channels]:
        pixels = array.reshape(spec.shape)
        return pixels[:, :, ::-1] if spec.colour == "bgr" else pixels
    return _in_room(_converted_array, array, spec, layout)


def _converted_array(array: npt.NDArray[Any], spec: ImageInput, layout: str | None, room: DecodingRoom) -> Pixels:
    from .array_images import ROW_BYTES, rows_of_array  # here: most images are files, or have the wanted size

    height, width, channels, rows = rows_of_array(array, spec, layout)
    strip = min(height * width, max(_STRIP_PIXELS, 2 * width))
    room.reserve(height * width * (1 if spec.channels == 1 else 4) + strip * ROW_BYTES)
    if (height, width, channels) == spec.shape:
        pixels = rows(0, height)
        return pixels[:, :, ::-1] if spec.colour == "bgr" else pixels

    def flattened(top: int, bottom: int) -> Image.Image:
        strip = rows(top, bottom)
        strip = np.ascontiguousarray(strip[:, :, 0] if channels == 1 else strip)
        return _flatten(Image.fromarray(strip), spec)

    if height * width <= _STRIP_PIXELS:
        return _sized(flattened(0, height), spec)
    return _sized(_joined((width, height), "L" if spec.channels == 1 else "RGB", flattened), spec)
