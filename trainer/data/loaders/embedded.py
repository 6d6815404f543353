"""Data sets that scikit-learn brings, without a download: handwritten digits, and two circles of points.

Source of the digits: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998.
"""

from __future__ import annotations

import numpy as np

from runtime import FeaturesInput

from ..dataset import Dataset, Geometry, array_pixels
from ..sources import ArraySource, VectorSource

_FULL_INK = 16.0  # the scans count ink in 0..16
_CIRCLE_POINTS, _CIRCLE_NOISE = 1000, 0.03


def load_digits(geometry: Geometry) -> Dataset:
    """1,797 scans of handwritten digits, grey 8x8 unless the geometry says otherwise."""
    from sklearn import datasets

    bunch = datasets.load_digits()
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


def load_circles() -> Dataset:
    """1,000 points on two circles, one inside the other, with a little noise; always the same points."""
    from sklearn import datasets

    vectors, targets = datasets.make_circles(_CIRCLE_POINTS, noise=_CIRCLE_NOISE, random_state=0)
    return Dataset(
        name="circles",
        labels=("outer", "inner"),
        input=FeaturesInput(("x", "y")),
        pixels=vectors,
        targets=targets.astype(np.int32),
        source=VectorSource(vectors),
        augmentation=(),
        task="binary",
    )
