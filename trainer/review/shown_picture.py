"""A picture of a review folder as the page shows it: of a size and a format that every browser takes."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from runtime import ImageError, ImageInput, load_pixels
from runtime.files import read_regular_file
from runtime.image_limits import MAX_IMAGE_BYTES
from runtime.images import read_header

#: The longer side of a picture and of a small one, in pixels, and the largest file that is sent as it is.
_SIDE, _SMALL_SIDE, _AS_IT_IS_BYTES = 1280, 160, 400_000
#: The types of files that are sent as they are, by their first bytes.
_KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_QUALITY = 88


def picture_for_page(path: Path, small: bool = False) -> tuple[bytes, str]:
    """A picture's content and its type: a small JPEG or PNG as it is, another as a JPEG of at most 1280 pixels a side.

    Args:
        path: the file.
        small: whether 160 pixels a side do.

    Raises:
        ImageError: it cannot be read.
    """
    content, _ = read_regular_file(path, MAX_IMAGE_BYTES, ImageError)
    try:
        header = read_header(content)
        longer = max(header.height, header.width)
        kind = next((kind for start, kind in _KINDS.items() if content.startswith(start)), "")
        if kind and len(content) <= _AS_IT_IS_BYTES and longer <= (_SMALL_SIDE if small else _SIDE):
            return content, kind
        scale = min(1.0, (_SMALL_SIDE if small else _SIDE) / longer)
        height, width = (max(1, round(side * scale)) for side in (header.height, header.width))
        pixels = load_pixels(content, ImageInput(height, width, "rgb"))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue(), "image/jpeg"
