"""Which way up an image is stored, and what it takes to turn it."""

from __future__ import annotations

from typing import Any, cast

from PIL import Image

from .image_limits import MAX_READS, check_decoding, decoding_bytes, exif_is_too_large
from .input_spec import EXIF, ImageInput
from .memory import MAX_MEMORY_BYTES, DecodingRoom

_EXIF_ORIENTATION = 0x0112
#: Chunks of texts in a PNG, and the names of texts that hold an orientation; Pillow reads the first two as EXIF.
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_ORIENTATION_TEXTS = (b"exif\0", b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
#: The signature before the first chunk; and what a chunk takes beside its data.
_PNG_FIRST_CHUNK, _PNG_CHUNK_BYTES = 8, 12
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


def _may_be_turned(data: bytes) -> bool:
    """Whether a PNG has a chunk that can hold an orientation; its pixels, most of the file, are passed over."""
    at = _PNG_FIRST_CHUNK
    for _ in range(MAX_READS):
        kind = data[at + 4 : at + 8]
        if len(kind) < 4:
            return False
        length = int.from_bytes(data[at : at + 4], "big")
        if kind == b"eXIf" or (kind in _PNG_TEXTS and data.startswith(_PNG_ORIENTATION_TEXTS, at + 8)):
            return True
        at += _PNG_CHUNK_BYTES + length
    return True


def needed_bytes(image: Image.Image, data: bytes, spec: ImageInput, size: int) -> int:
    """The bytes that decoding takes, if it is within the limits.

    Args:
        image: opened, not decoded; a JPEG with its reduced scale chosen.
        data: the encoded image; empty if it is not at hand.
        spec: the contract's input.
        size: bytes that are taken beside the pixels.

    Raises:
        ImageError: a limit is exceeded.
    """
    if image.format == "TIFF":
        # Pillow turns it while it decodes. Some versions still report the orientation then if EXIF was read before.
        stored = cast(Any, image).tag_v2.get(_EXIF_ORIENTATION)
        return check_decoding(image, size, spec.channels, turns=(stored or orientation_of(image)) in UPRIGHT)
    if spec.orientation != EXIF:
        return check_decoding(image, size, spec.channels, turns=False)
    if image.format != "PNG":
        return check_decoding(image, size, spec.channels, turns=orientation_of(image) in UPRIGHT)
    needed = check_decoding(image, size, spec.channels, turns=False)
    if data and not _may_be_turned(data):
        return needed
    # The orientation is known only after decoding; then it is checked whether there is room to turn the image.
    return min(MAX_MEMORY_BYTES, decoding_bytes(image, size, spec.channels, turns=True))


def header_orientation(image: Image.Image, data: bytes, size: int, room: DecodingRoom) -> int:
    """As `orientation_of`, for an image that is not decoded."""
    if image.format == "JPEG":
        return orientation_of(image)
    needed = check_decoding(image, size, 3, turns=False)
    if image.format != "PNG":
        return orientation_of(image)
    if not _may_be_turned(data):
        return 1
    room.reserve(needed)  # it may stand behind the pixels, and Pillow decodes these to reach it
    return orientation_of(image)


def stored_size(image: Any) -> tuple[int, int]:
    """(width, height) before turning. For a TIFF on its side, newer versions of Pillow give the size after it."""
    if image.format == "TIFF":
        return int(image.tag_v2[_TIFF_WIDTH]), int(image.tag_v2[_TIFF_HEIGHT])
    width, height = image.size
    return width, height
