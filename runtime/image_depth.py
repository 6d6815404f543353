"""Images with more than 8 bits a value: their conversion to 8 bits, and a warning where the result is nearly black."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import ImageError

_log = logging.getLogger(__name__)
#: What 4,095, the highest value of 12 bits, becomes when 16 bits are scaled to 8.
_TWELVE_BITS = 16
#: The image that `warn_if_dark` named, if there was one.
_warned_of: list[str] = []


def conversion_to_8_bit(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """The function that makes 8-bit grey of an image of a mode `I...`, or of a part of it."""
    # An image without a format that stays within 8 bits was made from an array; a file like that would be black.
    eight_bits = image.mode in ("I", "I;16") and image.format is None and _is_within_8_bits(image)
    return _as_8_bit if eight_bits else _from_16_bit


def warn_if_dark(pixels: npt.NDArray[np.uint8], name: str) -> None:
    """Log a warning if 16-bit values use 12 bits at most; once in a process, since all images of a camera are alike.

    The values are not scaled by what an image holds: a dark picture would become as bright as any other.

    Args:
        pixels: what became of them.
    """
    if not _warned_of and 0 < pixels.max() <= _TWELVE_BITS:
        _warned_of.append(name)
        _log.warning(
            "warning: %s: its 16-bit values stay below 4,096, as those of a 12-bit camera do, and it comes out nearly "
            "black; multiply the values by 16, or save it as 8-bit",
            name,
        )


def _is_within_8_bits(image: Image.Image) -> bool:
    least, most = cast(tuple[int, int], image.getextrema())
    return least >= 0 and most <= 255


def _as_8_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image).astype(np.uint8))


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255; Pillow's own conversion would clip at 255."""
    values = np.asarray(image)
    if values.dtype != np.uint16 and (values.min() < 0 or values.max() > 65535):
        raise ImageError("32-bit integer pixels beyond 16 bits; save it as 8- or 16-bit")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
