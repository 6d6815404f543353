"""Pictures that a data set has twice: pixel for pixel, or nearly so."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets import Dataset

#: Pairs of near copies that are told at most.
MOST_PAIRS = 1000
_SIDE = 8
#: Greatest root mean square difference of two near copies, in grey levels: of their thumbnails, and of their pixels.
#: A photo saved anew as JPEG of quality 75, or at another size, stays below both.
_THUMBNAIL_LEVELS = 3.0
_PIXEL_LEVELS = 8.0
#: Components by which candidates are looked for: where pictures differ most.
_COMPONENTS = 8
_CHUNK = 2000


@dataclass(frozen=True)
class NearPair:
    """Two pictures that are nearly the same.

    Attributes:
        first, second: their indices, the lower one first.
        difference: of their pixels, root mean square, in grey levels (0 to 255).
    """

    first: int
    second: int
    difference: float


class Fingerprints:
    """What is kept of each picture while all go by once: a digest, and a thumbnail of 8x8 areas."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._thumbnails: list[npt.NDArray[np.uint8]] = []

    def add(self, pixels: npt.NDArray[Any]) -> None:
        """Take the next pictures, uint8 of shape (n, height, width, channels); or vectors, of shape (n, features)."""
        for image in pixels:
            self._digests.append(hashlib.blake2b(image.tobytes(), digest_size=16).digest())
        if pixels.ndim == 2:
            return
        rows, columns = (_areas(side) for side in pixels.shape[1:3])
        areas = np.einsum("ah,nhwc,bw->nabc", rows, pixels.astype(np.float32), columns, optimize=True)
        self._thumbnails.append(np.rint(areas).astype(np.uint8).reshape(len(pixels), -1))

    def copies(self) -> list[list[int]]:
        """Groups of pictures with equal pixels, each in ascending order."""
        groups: dict[bytes, list[int]] = defaultdict(list)
        for index, digest in enumerate(self._digests):
            groups[digest].append(index)
        return [group for group in groups.values() if len(group) > 1]

    def near(self, dataset: Dataset) -> list[NearPair]:
        """Pairs of nearly equal pictures, the nearest first, at most `MOST_PAIRS`.

        Of pictures with equal pixels the first stands for all. Of vectors there are none.
        A pair's thumbnails are close, and then its pixels are. Projection onto a few components never takes two
        points further apart, so that no pair is missed by looking for candidates there.
        """
        if not self._thumbnails:
            return []
        distinct = np.array(sorted({digest: i for i, digest in reversed(list(enumerate(self._digests)))}.values()))
        thumbnails = np.concatenate(self._thumbnails)[distinct].astype(np.float32)
        pairs: list[NearPair] = []
        for first, second in _candidates(thumbnails):
            one, two = (dataset.pixels[distinct[[i]]][0].astype(np.float32) for i in (first, second))
            difference = float(np.sqrt(np.square(one - two).mean()))
            if difference <= _PIXEL_LEVELS:
                pairs.append(NearPair(int(distinct[first]), int(distinct[second]), round(difference, 2)))
                if len(pairs) == MOST_PAIRS:
                    break
        return sorted(pairs, key=lambda pair: (pair.difference, pair.first))


def _areas(side: int) -> npt.NDArray[np.float32]:
    """Weights of shape (areas, side): each area's mean of the pixels that it covers, in part or in whole."""
    areas = min(_SIDE, side)
    edges = np.arange(areas + 1) * side / areas
    pixels = np.arange(side)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: npt.NDArray[np.float32] = (np.clip(covered, 0, None) * areas / side).astype(np.float32)
    return weights


def _candidates(thumbnails: npt.NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    from sklearn.neighbors import KDTree

    if len(thumbnails) < 2:
        return
    centred = thumbnails - thumbnails.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    points = centred @ axes[:, -_COMPONENTS:]
    radius = _THUMBNAIL_LEVELS * np.sqrt(thumbnails.shape[1])
    tree = KDTree(points)
    for start in range(0, len(points), _CHUNK):
        found = tree.query_radius(points[start : start + _CHUNK], radius + 1e-2)
        for first, others in enumerate(found, start):
            later = np.sort(others[others > first])
            distances = np.linalg.norm(thumbnails[later] - thumbnails[first], axis=1)
            for second in later[distances <= radius].tolist():
                yield first, second
