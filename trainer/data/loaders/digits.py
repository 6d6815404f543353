"""scikit-learn's handwritten digits: 1,797 real scans of 8x8 pixels, embedded in scikit-learn, no download.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

import numpy as np

from ..dataset import Dataset, Geometry, array_pixels
from ..sources import ArraySource

_FULL_INK = 16.0  # the scans count ink in 0..16


def load(geometry: Geometry) -> Dataset:
    """The data set, grey 8x8 unless the geometry says otherwise."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / _FULL_INK)).astype(np.uint8)
    spec = geometry.resolve(images.shape[1:], "grey")
    return Dataset(
        name="digits",
        labels=tuple(str(name) for name in bunch.target_names),
        input=spec,
        pixels=array_pixels(images, spec),
        targets=bunch.target.astype(np.int32),
        source=ArraySource(images),
        date="1998-07-01",
    )
