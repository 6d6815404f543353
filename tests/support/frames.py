"""JPEGs as cameras send them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def jpeg(seed: int, size: tuple[int, int] = (48, 32), **options: object) -> bytes:
    """A picture of noise, (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


JPEGS = [jpeg(0), jpeg(1, progressive=True), jpeg(2, restart_marker_blocks=2), jpeg(3, quality=20)]
