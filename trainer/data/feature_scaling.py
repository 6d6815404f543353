"""Mean and standard deviation of each feature, measured on the training vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import FeaturesInput

#: Of a feature's mean: a deviation below this share of it is the rounding of a constant.
_ROUNDING = 1e-12
_LEAST = 1e-30


def standardised(spec: FeaturesInput, vectors: npt.NDArray[Any]) -> FeaturesInput:
    """The input with the scaling that gives each feature zero mean and unit variance.

    Each by itself, unlike the channels of an image: an int8 tensor has one scale and one zero point, which only serve
    a temperature and a pressure alike once their units are gone. So a device standardises in floating point before it
    quantizes, which costs it two operations a feature.

    Args:
        vectors: the training split, float64, shape (n, features). A feature that never changes keeps its unit.
    """
    mean, std = vectors.mean(axis=0), vectors.std(axis=0)
    constant = (std <= np.maximum(_ROUNDING * np.abs(mean), _LEAST)) | (np.ptp(vectors, axis=0) == 0)
    return replace(spec, mean=tuple(mean.tolist()), std=tuple(np.where(constant, 1.0, std).tolist()))
