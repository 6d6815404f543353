"""Splits of images with several labels each, so that every label is in each of them in its share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .sources import Indices

_STAYS, _TAKEN = 0, 1


def take_share(
    pool: Indices, targets: npt.NDArray[Any], share: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Take a share of the images, and of each label as near to that share of its images as can be.

    The rarest label that is left is dealt out first, each of its images to the part that lacks it most: the later ones
    are so frequent that they come out right by themselves. Images of no label count as a label of their own. A label
    of two images or more is to have one in either part.

    Args:
        pool: indices of the images.
        targets: 0 or 1, shape (n, labels).
        share: 0 to 1.

    Returns:
        What stays and what is taken, both in ascending order.

    Source: K. Sechidis, G. Tsoumakas, I. Vlahavas, On the stratification of multi-label data, ECML PKDD 2011.
    """
    rows = rng.permutation(pool)
    marks = targets[rows].astype(bool)
    marks = np.column_stack([marks, ~marks.any(axis=1)])
    counts = marks.sum(axis=0)
    wanted = np.where(counts > 1, np.maximum(1, np.rint(share * counts)), 0)
    room = np.stack([counts - wanted, wanted])
    images = np.array([(1 - share) * len(rows), share * len(rows)])
    part = np.full(len(rows), -1)
    while (part < 0).any():
        left = marks[part < 0].sum(axis=0)
        rarest = int(np.where(left > 0, left, len(rows) + 1).argmin())
        for row in np.flatnonzero(marks[:, rarest] & (part < 0)):
            lacks = [(room[side, rarest], images[side]) for side in (_STAYS, _TAKEN)]
            chosen = _TAKEN if lacks[_TAKEN] > lacks[_STAYS] else _STAYS
            part[row] = chosen
            room[chosen] -= marks[row]
            images[chosen] -= 1
    return np.sort(rows[part == _STAYS]), np.sort(rows[part == _TAKEN])
