"""Augmentation: training images changed in ways that keep their label, outside the model.

It runs in numpy, on whole pixels, in the threads that prepare batches. All random numbers come from the given
generator, so an epoch that is repeated is the same epoch. No layer of it can reach the exported file.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

_Batch = npt.NDArray[np.uint8]

#: The largest shift as a share of the side: 2 of 28 pixels, the usual amount for images of that size.
_SHIFT = 1 / 14
#: Share of the images that have a part erased.
_ERASED_SHARE = 0.5
#: Smallest and largest share of the image that is erased.
_ERASED_AREA = (0.02, 0.2)
_BRIGHTNESS = 0.15
_CONTRAST = 0.2
#: The largest change of one colour against the others, as daylight changes over the day.
_TINT = 0.08


def augment(pixels: _Batch, kinds: Collection[str], rng: np.random.Generator) -> _Batch:
    """An augmented copy of a batch.

    `shift` moves each image by up to a fourteenth of its sides and repeats the border. `flip` mirrors half of the
    images. `colour` changes brightness, contrast, and the balance of colours. `erase` fills a rectangle of 2 to 20 % of
    the area with noise in half of the images (Z. Zhong et al., Random Erasing Data Augmentation, arXiv:1708.04896).

    Args:
        pixels: uint8, shape (n, height, width, channels).
        kinds: names from `config.AUGMENTATIONS`, in any order.
        rng: source of all random numbers.
    """
    if "shift" in kinds or "flip" in kinds:
        pixels = _move(pixels, "shift" in kinds, "flip" in kinds, rng)
    if "colour" in kinds:
        pixels = _change_colours(pixels, rng)
    if "erase" in kinds:
        pixels = _erase(pixels, rng)
    return pixels


def _move(pixels: _Batch, shift: bool, flip: bool, rng: np.random.Generator) -> _Batch:
    count, height, width, channels = pixels.shape
    down, right = (max(1, round(side * _SHIFT)) if shift else 0 for side in (height, width))
    padded = np.pad(pixels, ((0, 0), (down, down), (right, right), (0, 0)), mode="edge")
    tops, lefts = rng.integers(0, 2 * down + 1, count), rng.integers(0, 2 * right + 1, count)
    mirrored = (rng.random(count) < 0.5) & flip
    moved = np.empty_like(pixels)
    # A view with one item a pixel, for any number of channels: a mirrored copy then takes half the time.
    source, target = (array.view(f"V{channels}")[..., 0] for array in (padded, moved))
    for i, (top, left, mirror) in enumerate(zip(tops.tolist(), lefts.tolist(), mirrored.tolist(), strict=True)):
        window = source[i, top : top + height, left : left + width]
        target[i] = window[:, ::-1] if mirror else window
    return moved


def _change_colours(pixels: _Batch, rng: np.random.Generator) -> _Batch:
    count, height, width, channels = pixels.shape
    contrast = 1 + rng.uniform(-_CONTRAST, _CONTRAST, (count, 1))
    brightness = 255 * rng.uniform(-_BRIGHTNESS, _BRIGHTNESS, (count, 1))
    tint = 1 + rng.uniform(-_TINT, _TINT, (count, channels)) * (channels > 1)
    # ((pixel - 127.5) * contrast + 127.5 + brightness) * tint, as pixel * gain + offset in 64ths: this fits into 16
    # bits, and processors compute twice as many values of 16 bits at once as of 32.
    gain, offset = contrast * tint, (127.5 * (1 - contrast) + brightness) * tint + 0.5
    gains, offsets = (
        np.tile(np.rint(64 * values).astype(np.int16), width).reshape(count, 1, -1) for values in (gain, offset)
    )
    changed: npt.NDArray[np.int16] = pixels.reshape(count, height, -1) * gains
    changed += offsets
    changed >>= 6
    np.clip(changed, 0, 255, out=changed)
    result: _Batch = changed.astype(np.uint8).reshape(pixels.shape)
    return result


def _erase(pixels: _Batch, rng: np.random.Generator) -> _Batch:
    count, height, width, channels = pixels.shape
    erased = pixels.copy()
    areas = rng.uniform(*_ERASED_AREA, count) * height * width
    ratios = np.exp(rng.uniform(-np.log(3), np.log(3), count))
    heights = np.clip(np.rint(np.sqrt(areas * ratios)), 1, height).astype(int)
    widths = np.clip(np.rint(np.sqrt(areas / ratios)), 1, width).astype(int)
    tops, lefts = rng.integers(0, height - heights + 1), rng.integers(0, width - widths + 1)
    chosen = np.flatnonzero(rng.random(count) < _ERASED_SHARE)
    sizes = heights * widths * channels
    noise = rng.integers(0, 256, sizes[chosen].sum(), np.uint8)
    begin = 0
    for i in chosen.tolist():
        part = noise[begin : begin + sizes[i]].reshape(heights[i], widths[i], channels)
        erased[i, tops[i] : tops[i] + heights[i], lefts[i] : lefts[i] + widths[i]] = part
        begin += sizes[i]
    return erased
