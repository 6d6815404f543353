"""Mean and standard deviation of the training split, with which a network's input is scaled."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Contract, FeaturesInput, ImageInput
from runtime.thread_map import ordered_map

from ..errors import DatasetError
from .dataset import PixelStore
from .image_files import WORKERS
from .sources import Indices

#: Images, and bytes of pixels, that are measured at most.
_MAX_IMAGES = 10_000
_MAX_BYTES = 2**28
#: Bytes of pixels that are counted at once.
_PART_BYTES = 2**20
#: A feature whose deviation is below this share of its mean is a constant with rounding errors.
_ROUNDING = 1e-12
_MIN_DEVIATION = 1e-30


def count_pixel_values(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each of the 256 values occurs in each channel: shape (channels, 256).

    Args:
        pixels: uint8, shape (n, height, width, channels).
    """
    return np.stack([np.bincount(channel.reshape(-1), minlength=256) for channel in np.moveaxis(pixels, -1, 0)])


def mean_and_deviation(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation from `count_pixel_values`, shape (channels,) each; (256,) gives scalars."""
    values, total = np.arange(256), counts.sum(axis=-1)
    mean = counts @ values / total
    squares = counts * np.square(values - mean[..., np.newaxis])
    return mean, np.sqrt(squares.sum(axis=-1) / total)


def measure_scaling(spec: ImageInput, pixels: PixelStore, indices: Indices) -> ImageInput:
    """The input with the scaling that gives a split about zero mean and unit variance.

    The mean is rounded to a whole pixel and shared by the channels, as is the standard deviation. So a
    quantized input can have the mean as its zero point and 1/std as its scale, and the device feeds the pixels
    raw; and the zeros that "same" padding adds are the mean pixel.

    Args:
        pixels: uint8.
        indices: the training images; of many, some thousands spread over them are measured.

    Raises:
        DatasetError: an image cannot be read any more.
    """
    size = math.prod(pixels.shape[1:])
    most = max(1, min(_MAX_IMAGES, _MAX_BYTES // size))
    sample = indices[:: max(1, len(indices) // most)]
    parts = np.array_split(sample, -(-len(sample) * size // _PART_BYTES))
    counts = np.zeros(256, np.int64)
    for part in ordered_map(lambda chosen: count_pixel_values(pixels[chosen]), parts, WORKERS):
        counts += part.sum(axis=0)
    mean, deviation = map(float, mean_and_deviation(counts))
    mean, std = float(round(mean)), max(1.0, round(deviation, 2))
    return replace(spec, mean=(mean,) * spec.channels, std=(std,) * spec.channels)


def measure_feature_scaling(spec: FeaturesInput, vectors: npt.NDArray[Any]) -> FeaturesInput:
    """The input with the scaling that gives each feature zero mean and unit variance.

    Each feature has its own scaling, unlike the channels of an image: an int8 tensor has one scale and one zero point,
    which serve a temperature and a pressure alike only once their units are gone. So a device standardises in floating
    point before it quantizes, which costs two operations a feature.

    Args:
        vectors: the training split, float64, shape (n, features). A feature that never changes keeps its unit.
    """
    mean, std = vectors.mean(axis=0), vectors.std(axis=0)
    constant = (std <= np.maximum(_ROUNDING * np.abs(mean), _MIN_DEVIATION)) | (np.ptp(vectors, axis=0) == 0)
    return replace(spec, mean=tuple(mean.tolist()), std=tuple(np.where(constant, 1.0, std).tolist()))


def without_scaling(contract: Contract) -> Contract:
    """The contract with mean 0 and standard deviation 1: pixels go in as 0 to 255, in training and on the device."""
    values = len(contract.input.mean)
    return replace(contract, input=replace(contract.input, mean=(0.0,) * values, std=(1.0,) * values))


def with_unit_scaling(contract: Contract) -> Contract:
    """The contract of images with pixels of 0 to 1, which are those of 0 to 255 divided by 255."""
    return replace(contract, input=replace(contract.input, mean=(), std=()))


def check_has_pixels(contract: Contract, scaling: str) -> None:
    """Refuse a scaling that is for pixels alone where the input is a vector of features.

    Raises:
        DatasetError: it is one.
    """
    if isinstance(contract.input, FeaturesInput):
        raise DatasetError(f"`scaling={scaling}` is for pixels, and this input is {contract.input.describe()}")
