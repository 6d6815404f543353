"""Which way up an image is stored, and what it takes to turn it."""

from __future__ import annotations

from typing import Any

from PIL import Image

from .image_blocks import Blocks
from .image_limits import check_decoding, exif_is_too_large
from .input_spec import EXIF, ImageInput
from .memory import DecodingRoom

_EXIF_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TRANSPOSE = Image.Transpose
UPRIGHT = {
    2: _TRANSPOSE.FLIP_LEFT_RIGHT,
    3: _TRANSPOSE.ROTATE_180,
    4: _TRANSPOSE.FLIP_TOP_BOTTOM,
    5: _TRANSPOSE.TRANSPOSE,
    6: _TRANSPOSE.ROTATE_270,
    7: _TRANSPOSE.TRANSVERSE,
    8: _TRANSPOSE.ROTATE_90,
}
#: EXIF orientations from this one on swap height and width.
FIRST_ON_ITS_SIDE = 5
#: The orientations that turn back what another one turned; the others undo themselves.
_BACK = {6: 8, 8: 6}


def orientation_of(image: Image.Image) -> int:
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return 1  # known already; getexif would import the parser of EXIF, which takes long
    if exif_is_too_large(image):
        return 1
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # with a damaged EXIF block, viewers too show the image as it is
        return 1
    return int(value) if value in UPRIGHT else 1


def decode(image: Image.Image, spec: ImageInput, *, is_own: bool, may_be_turned: bool) -> Image.Transpose | None:
    """Decode an image as it is stored, and return how it must be turned; None for not at all.

    Args:
        image: opened, not decoded.
        spec: the contract's input.
        is_own: whether the image was opened here. The caller's own TIFF is turned by newer versions of Pillow while it
            is decoded, as the caller would find it without this call.
        may_be_turned: whether a PNG can hold an orientation; looking for it takes long in a small image.
    """
    obeyed = spec.orientation == EXIF and may_be_turned
    if image.format != "TIFF":
        # Decode first: the orientation may stand behind the pixels, and reading it would ignore damage to them.
        image.load()
        return UPRIGHT.get(orientation_of(image)) if obeyed else None
    if is_own:
        orientation = _tiff_orientation(image)
        _load_as_stored(image)
        return UPRIGHT.get(orientation) if obeyed else None
    orientation = orientation_of(image)
    image.load()
    remaining = _remaining_orientation(image)
    if obeyed:
        return UPRIGHT.get(remaining)
    was_turned = remaining == 1
    return UPRIGHT.get(_BACK.get(orientation, orientation)) if was_turned else None


def _load_as_stored(image: Any) -> None:
    """Decode a TIFF; its turned pixels would be in memory beside the stored ones."""
    image.getexif()[_EXIF_ORIENTATION] = 1
    image._tile_orientation = None  # where Pillow before 10.2 looks
    image.load()
    image._size = image.im.size  # newer versions give the size after turning from the start


def _remaining_orientation(image: Any) -> int:
    """The orientation of a decoded TIFF. Pillow before 10.2 turns its pixels too, and leaves its EXIF as it was."""
    return 1 if getattr(image, "_tile_orientation", None) in UPRIGHT else orientation_of(image)


def _tiff_orientation(image: Any) -> int:
    stored = image.tag_v2.get(_EXIF_ORIENTATION)
    return stored if stored in UPRIGHT else orientation_of(image)


def needed_bytes(image: Image.Image, spec: ImageInput, size: int, may_be_turned: bool) -> int:
    """The bytes that decoding takes, if it is within the limits.

    Args:
        image: opened, not decoded; a JPEG with its reduced scale chosen.
        spec: the contract's input.
        size: bytes that are taken beside the pixels.
        may_be_turned: whether a PNG can hold an orientation.

    Raises:
        ImageError: a limit is exceeded.
    """
    if image.format == "TIFF":
        return check_decoding(image, size, spec.channels, turns=_tiff_orientation(image) in UPRIGHT)
    if spec.orientation != EXIF:
        return check_decoding(image, size, spec.channels, turns=False)
    if image.format != "PNG":
        return check_decoding(image, size, spec.channels, turns=orientation_of(image) in UPRIGHT)
    # The orientation is known only after decoding.
    return check_decoding(image, size, spec.channels, turns=may_be_turned)


def header_orientation(image: Image.Image, blocks: Blocks, room: DecodingRoom) -> int:
    """As `orientation_of`, for an image that is not decoded."""
    if image.format == "JPEG":
        return orientation_of(image)
    needed = check_decoding(image, blocks.size, 3, turns=False)
    if image.format != "PNG":
        return orientation_of(image)
    if not blocks.may_be_turned:
        return 1
    room.reserve(needed)  # it may stand behind the pixels, and Pillow decodes these to reach it
    return orientation_of(image)


def stored_size(image: Any) -> tuple[int, int]:
    """(width, height) before turning. For a TIFF on its side, newer versions of Pillow give the size after it."""
    if image.format == "TIFF":
        return int(image.tag_v2[_TIFF_WIDTH]), int(image.tag_v2[_TIFF_HEIGHT])
    width, height = image.size
    return width, height
