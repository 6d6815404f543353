"""Pictures changed in ways that keep their label: for training only, outside the model.

In numpy, on whole pixels and in the thread that prepares batches: what is drawn follows from the generator alone, so
that an epoch done again is the same epoch, and no layer of it can reach the exported file.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

#: Of the side: by how much a picture is moved at most. 2 of 28 pixels, as is usual for pictures of that size.
_SHIFT = 1 / 14
#: Share of the pictures that lose a part.
_ERASED = 0.5
#: Least and greatest share of the picture that is lost.
_ERASED_AREA = (0.02, 0.2)
_BRIGHTNESS = 0.15
_CONTRAST = 0.2
#: By how much one colour may gain on the others, as in the light of another hour.
_TINT = 0.08


def augment(pixels: Pixels, kinds: Collection[str], rng: np.random.Generator) -> Pixels:
    """A changed copy of a batch.

    `shift`: moved by up to a fourteenth of its sides, the border repeated. `flip`: left and right changed in half of
    them. `colour`: brightness, contrast, and the balance of colours. `erase`: in half of them a rectangle of 2 to 20 %
    becomes noise (Z. Zhong et al., Random Erasing Data Augmentation, arXiv:1708.04896).

    Args:
        pixels: uint8, shape (n, height, width, channels).
        kinds: some of `spec.AUGMENTATIONS`; the order in which they are given does not matter.
        rng: advanced by what is drawn.
    """
    if "shift" in kinds or "flip" in kinds:
        pixels = _moved(pixels, "shift" in kinds, "flip" in kinds, rng)
    if "colour" in kinds:
        pixels = _coloured(pixels, rng)
    if "erase" in kinds:
        pixels = _erased(pixels, rng)
    return pixels


def _moved(pixels: Pixels, shift: bool, flip: bool, rng: np.random.Generator) -> Pixels:
    count, height, width, channels = pixels.shape
    down, right = (max(1, round(side * _SHIFT)) if shift else 0 for side in (height, width))
    padded = np.pad(pixels, ((0, 0), (down, down), (right, right), (0, 0)), mode="edge")
    tops, lefts = rng.integers(0, 2 * down + 1, count), rng.integers(0, 2 * right + 1, count)
    turned = (rng.random(count) < 0.5) & flip
    moved = np.empty_like(pixels)
    # A pixel is one item, whatever its channels: a mirrored copy then takes half the time.
    items, places = (array.view(f"V{channels}")[..., 0] for array in (padded, moved))
    for i, (top, left, mirror) in enumerate(zip(tops.tolist(), lefts.tolist(), turned.tolist(), strict=True)):
        window = items[i, top : top + height, left : left + width]
        places[i] = window[:, ::-1] if mirror else window
    return moved


def _coloured(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    count, height, width, channels = pixels.shape
    contrast = 1 + rng.uniform(-_CONTRAST, _CONTRAST, (count, 1))
    brightness = 255 * rng.uniform(-_BRIGHTNESS, _BRIGHTNESS, (count, 1))
    tint = 1 + rng.uniform(-_TINT, _TINT, (count, channels)) * (channels > 1)
    # ((pixel - 127.5) * contrast + 127.5 + brightness) * tint, as pixel * gain + offset in 64ths: within 16 bits, in
    # which processors compute twice as many at once as in 32.
    gain, offset = contrast * tint, (127.5 * (1 - contrast) + brightness) * tint + 0.5
    gains, offsets = (
        np.tile(np.rint(64 * values).astype(np.int16), width).reshape(count, 1, -1) for values in (gain, offset)
    )
    changed: npt.NDArray[np.int16] = pixels.reshape(count, height, -1) * gains
    changed += offsets
    changed >>= 6
    np.clip(changed, 0, 255, out=changed)
    result: Pixels = changed.astype(np.uint8).reshape(pixels.shape)
    return result


def _erased(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    count, height, width, channels = pixels.shape
    erased = pixels.copy()
    areas = rng.uniform(*_ERASED_AREA, count) * height * width
    ratios = np.exp(rng.uniform(-np.log(3), np.log(3), count))
    heights = np.clip(np.rint(np.sqrt(areas * ratios)), 1, height).astype(int)
    widths = np.clip(np.rint(np.sqrt(areas / ratios)), 1, width).astype(int)
    tops, lefts = rng.integers(0, height - heights + 1), rng.integers(0, width - widths + 1)
    chosen = np.flatnonzero(rng.random(count) < _ERASED)
    sizes = heights * widths * channels
    noise = rng.integers(0, 256, sizes[chosen].sum(), np.uint8)
    begin = 0
    for i in chosen.tolist():
        part = noise[begin : begin + sizes[i]].reshape(heights[i], widths[i], channels)
        erased[i, tops[i] : tops[i] + heights[i], lefts[i] : lefts[i] + widths[i]] = part
        begin += sizes[i]
    return erased
