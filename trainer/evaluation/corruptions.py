"""Corruptions of pictures: what a camera or the weather does to a picture, at five severities each.

They work on the picture as the network sees it: at the model's input size, before scaling. Their strengths grow with
the side of the picture, so that a digit of 28 pixels is not blurred away by what a photo of 224 pixels hardly shows.

Source: D. Hendrycks, T. Dietterich, Benchmarking neural network robustness to common corruptions and perturbations,
ICLR 2019 (arXiv:1903.12261). The strengths lie near theirs for pictures of 32 and of 224 pixels. Rotation and occlusion
are not among theirs.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from runtime.images import Pixels

SEVERITIES = (1, 2, 3, 4, 5)
#: The sides, in pixels, of the pictures between which Hendrycks and Dietterich's strengths were compared.
_SMALL_SIDE, _LARGE_SIDE = 32, 224
#: Pixels that are added to the side for the strength of a blur.
_BLUR_MARGIN = 12
#: The grey of an occlusion.
_GREY = 127
#: The grey of fog.
_FOG = 235


class Corruption(NamedTuple):
    """One kind of corruption.

    Attributes:
        strengths: one for each of `SEVERITIES`, growing; what they mean is the function's.
        apply: gives the corrupted picture for a picture, a strength, and a generator that is in the same state for
            every severity: what is drawn from it, such as a direction, stays while the strength grows.
    """

    strengths: tuple[float, ...]
    apply: Callable[[Pixels, float, np.random.Generator], Pixels]


def corrupt(pixels: Pixels, name: str, severity: int, seed: int = 0) -> Pixels:
    """A picture under one corruption.

    The result depends on the picture, the corruption, the severity and the seed alone: not on the order of calls, nor
    on the other pictures. What is drawn at random is the same at every severity; only its strength grows.

    Args:
        pixels: uint8, shape (height, width, 1 or 3), red first, 8 pixels or more a side.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5; at 0 the picture stays as it is.

    Returns:
        uint8, of the same shape.

    Raises:
        ValueError: there is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"corruption is {name!r}, expected one of {', '.join(CORRUPTIONS)}")
    if severity not in (0, *SEVERITIES):
        raise ValueError(f"severity is {severity!r}, expected 0 to {SEVERITIES[-1]}")
    if not severity:
        return pixels
    corruption = CORRUPTIONS[name]
    picture = zlib.crc32(np.ascontiguousarray(pixels).data)
    generator = np.random.default_rng((seed, picture, zlib.crc32(name.encode())))
    return corruption.apply(pixels, corruption.strengths[severity - 1], generator)


def corrupted_versions(pixels: Pixels, seed: int = 0, *, colour: str = "rgb") -> Iterator[Pixels]:
    """The picture itself, then under each of `CORRUPTIONS` at each of `SEVERITIES`, one after the other.

    Args:
        pixels, seed: as for `corrupt`.
        colour: of a contract's input; the pixels of `"bgr"` come and go with blue first.
    """
    order = -1 if colour == "bgr" else 1
    yield pixels
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            yield corrupt(pixels[:, :, ::order], name, severity, seed)[:, :, ::order]


def _side(pixels: Pixels) -> int:
    """The shorter side in pixels."""
    return min(pixels.shape[:2])


def _rounded(values: npt.NDArray[Any]) -> Pixels:
    rounded: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def _to_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))


def _to_pixels(image: Image.Image) -> Pixels:
    found = np.asarray(image)
    return found if found.ndim == 3 else found[:, :, np.newaxis]


def _noise(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """Gaussian noise; the strength is its deviation in grey levels for 32 pixels.

    A network averages over more pixels of a larger picture, so that the same visibility needs the root of that more.
    """
    deviation = strength * math.sqrt(min(_side(pixels), _LARGE_SIDE) / _SMALL_SIDE)
    return _rounded(pixels + deviation * generator.standard_normal(pixels.shape, np.float32))


def _blur(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """Gaussian blur; the strength is its deviation as a share of the side and a few pixels more.

    A small picture is less sharp than its pixels allow, so that its details have more than one pixel.
    """
    del generator
    deviation = strength * (_side(pixels) + _BLUR_MARGIN)
    return _to_pixels(_to_image(pixels).filter(ImageFilter.GaussianBlur(deviation)))


def _motion(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """The mean along a line in any direction; the strength is its length as a share of the side."""
    angle, reach = generator.uniform(0, math.pi), strength * _side(pixels) / 2
    across, down = reach * math.cos(angle), reach * math.sin(angle)
    margin, steps = math.ceil(reach) + 1, 4 * math.ceil(reach) + 5
    kernel = np.zeros((2 * margin + 1, 2 * margin + 1), np.float32)
    for place in np.linspace(-1, 1, steps):  # each point of the line is shared by the four pixels around it
        column, row = margin + place * across, margin + place * down
        left, top = int(column), int(row)
        right_share, bottom_share = column - left, row - top
        kernel[top, left] += (1 - right_share) * (1 - bottom_share)
        kernel[top, left + 1] += right_share * (1 - bottom_share)
        kernel[top + 1, left] += (1 - right_share) * bottom_share
        kernel[top + 1, left + 1] += right_share * bottom_share
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), "edge").astype(np.float32)
    total = np.zeros(pixels.shape, np.float32)
    for row, column in np.argwhere(kernel).tolist():
        total += kernel[row, column] / steps * padded[row : row + height, column : column + width]
    return _rounded(total)


def _brightness(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """Lighter or darker by a share of the whole range."""
    sign = 1 if generator.random() < 0.5 else -1
    return _rounded(pixels + np.float32(sign * 255 * strength))


def _contrast(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """Closer to the picture's mean; the strength is the share of the contrast that is lost."""
    del generator
    mean = pixels.mean(dtype=np.float64)
    return _rounded(mean + (1 - strength) * (pixels - mean))


def _fog(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """Light grey in clouds of all sizes; the strength is the share of the picture that the thickest fog hides."""
    height, width = pixels.shape[:2]
    cloud = np.zeros((height, width), np.float32)
    for octave in (2, 4, 8, 16):
        cells = generator.random((octave, octave), np.float32)
        smooth = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
        cloud += np.asarray(smooth) / octave
    low, high = float(cloud.min()), float(cloud.max())
    density = 0.5 + 0.5 * (cloud - low) / max(high - low, 1e-6)
    return _rounded(pixels + strength * density[:, :, np.newaxis] * (np.float32(_FOG) - pixels))


def _rotation(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """Turned to either side by degrees; the border's pixels are continued."""
    degrees = strength if generator.random() < 0.5 else -strength
    height, width = pixels.shape[:2]
    margin = math.ceil(max(height, width) / 3)
    padded = _to_image(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), "edge"))
    turned = padded.rotate(degrees, Image.Resampling.BILINEAR)
    return _to_pixels(turned.crop((margin, margin, margin + width, margin + height)))


def _jpeg(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """Saved as JPEG; the strength is the coarseness of the quantization for 32 pixels, as libjpeg scales its tables.

    The blocks of a JPEG have 8 pixels whatever the picture's size, so that a larger picture bears coarser ones.
    """
    del generator
    coarseness = strength * (min(_side(pixels), _LARGE_SIDE) / _SMALL_SIDE) ** 0.8
    quality = 50 / coarseness if coarseness > 1 else 100 - 50 * coarseness
    buffer = io.BytesIO()
    _to_image(pixels).save(buffer, "JPEG", quality=max(1, round(quality)))
    return _to_pixels(Image.open(buffer))


def _occlusion(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """A grey square somewhere; the strength is its side as a share of the picture's."""
    height, width = pixels.shape[:2]
    largest = CORRUPTIONS["occlusion"].strengths[-1] * _side(pixels)
    side = max(1, round(strength * _side(pixels)))
    # The centre is drawn so that the largest square lies within the picture, and holds all smaller ones.
    row, column = (int(generator.uniform(largest / 2, length - largest / 2)) - side // 2 for length in (height, width))
    hidden = pixels.copy()
    hidden[max(0, row) : row + side, max(0, column) : column + side] = _GREY
    return hidden


#: By name, in the order of reports and of `corrupted_versions`.
CORRUPTIONS = {
    "noise": Corruption((10, 15, 20, 25, 30), _noise),
    "blur": Corruption((0.008, 0.012, 0.017, 0.022, 0.028), _blur),
    "motion": Corruption((0.04, 0.06, 0.09, 0.12, 0.16), _motion),
    "brightness": Corruption((0.06, 0.12, 0.19, 0.27, 0.36), _brightness),
    "contrast": Corruption((0.25, 0.45, 0.6, 0.72, 0.82), _contrast),
    "fog": Corruption((0.25, 0.35, 0.45, 0.55, 0.65), _fog),
    "rotation": Corruption((3, 6, 10, 15, 20), _rotation),
    "JPEG": Corruption((0.4, 0.65, 0.9, 1.2, 1.5), _jpeg),
    "occlusion": Corruption((0.12, 0.18, 0.24, 0.3, 0.36), _occlusion),
}

#: How many pictures `corrupted_versions` makes of one.
VERSIONS = 1 + len(CORRUPTIONS) * len(SEVERITIES)
