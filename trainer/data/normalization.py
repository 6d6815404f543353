"""Mean and standard deviation of training pictures, without having them all in memory."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from runtime import ImageInput
from runtime.thread_map import ordered_map

from .image_files import WORKERS
from .pixels import Pixels
from .sources import Indices

#: Pictures, and bytes of pixels, that are measured at most.
_MOST_PICTURES = 10_000
_MOST_BYTES = 2**28
#: Bytes of pixels that are counted at once.
_PART_BYTES = 2**20


def measure_scaling(spec: ImageInput, pixels: Pixels, indices: Indices) -> ImageInput:
    """The input with the scaling that gives a split about zero mean and unit variance.

    The mean is rounded to a whole pixel and shared by the channels, as is the standard deviation. So a
    quantized input can have the mean as its zero point and 1/std as its scale, and the device feeds the pixels
    raw; and the zeros that "same" padding adds are the mean pixel.

    Args:
        pixels: uint8.
        indices: the training pictures; of many, some thousands spread over them are measured.

    Raises:
        DatasetError: a picture cannot be read any more.
    """
    size = math.prod(pixels.shape[1:])
    most = max(1, min(_MOST_PICTURES, _MOST_BYTES // size))
    sample = indices[:: max(1, len(indices) // most)]
    parts = np.array_split(sample, -(-len(sample) * size // _PART_BYTES))
    # How often there is each of the 256 values says all that mean and deviation ask for.
    counts = np.zeros(256)
    for part in ordered_map(lambda chosen: _count(pixels[chosen]), parts, WORKERS):
        counts += part
    values, total = np.arange(256), counts.sum()
    mean = float((counts * values).sum() / total)
    deviation = math.sqrt(float((counts * (values - mean) ** 2).sum() / total))
    mean, std = float(round(mean)), max(1.0, round(deviation, 2))
    return replace(spec, mean=(mean,) * spec.channels, std=(std,) * spec.channels)


def _count(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    return np.bincount(pixels.reshape(-1), minlength=256)
