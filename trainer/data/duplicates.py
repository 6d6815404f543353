"""Finds images that occur twice in a data set, pixel for pixel or nearly so."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.progress import progress

from .sources import Indices

#: Pairs of near copies that are returned at most.
MAX_PAIRS = 1000
#: Pairs whose pixels are compared at most: each takes two decoded images. Fashion-MNIST's 70,000 images have 47 pairs.
MAX_COMPARED = 10_000
#: The digest of every image of one colour.
BLANK = bytes(16)
_SIDE = 8
#: Greatest root mean square difference of two near copies, in grey levels, between their thumbnails and between their
#: pixels. A photo that was saved again as a JPEG of quality 75, or at another size, stays below both.
_THUMBNAIL_LEVELS = 3.0
_PIXEL_LEVELS = 8.0
#: Principal components in which neighbours are searched.
_COMPONENTS = 8
#: Neighbours that one search may return, at 8 bytes each, and that are examined in all: where images are much alike,
#: each is a neighbour of every other.
_NEIGHBOURS_AT_ONCE = 2**22
_MAX_NEIGHBOURS = 2**24


@dataclass(frozen=True)
class NearPair:
    """Two images that are nearly the same.

    Attributes:
        first, second: their indices, the lower one first.
        difference: root mean square difference of their pixels, in grey levels (0 to 255).
    """

    first: int
    second: int
    difference: float


def pixels_digest(image: npt.NDArray[Any]) -> bytes:
    """16 bytes that equal images share, shape (height, width, channels), or equal vectors.

    Images of one colour all have the digest `BLANK`: a lens cap or an empty page is no copy of another one.
    """
    if image.ndim > 1 and (image == image[:1, :1]).all():
        return BLANK
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


class Fingerprints:
    """A digest and a thumbnail of 8x8 areas for each image, so that each is read once.

    Attributes:
        digests: from `pixels_digest`.
    """

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self._thumbnails: list[npt.NDArray[np.uint8]] = []

    def add(self, pixels: npt.NDArray[Any]) -> None:
        """Add the next images, uint8 of shape (n, height, width, channels); or vectors, of shape (n, features)."""
        self.digests += map(pixels_digest, pixels)
        if pixels.ndim == 2:
            return
        rows, columns = (_areas(side) for side in pixels.shape[1:3])
        areas = np.einsum("ah,nhwc,bw->nabc", rows, pixels.astype(np.float32), columns, optimize=True)
        self._thumbnails.append(np.rint(areas).astype(np.uint8).reshape(len(pixels), -1))

    def select(self, indices: Indices) -> Fingerprints:
        """The fingerprints of some images, in the order of the indices."""
        selected = Fingerprints()
        selected.digests = [self.digests[index] for index in indices.tolist()]
        selected._thumbnails = [np.concatenate(self._thumbnails)[indices]]
        return selected

    def joined(self, others: Fingerprints) -> Fingerprints:
        """These, and the others behind them."""
        joined = Fingerprints()
        joined.digests = [*self.digests, *others.digests]
        joined._thumbnails = [*self._thumbnails, *others._thumbnails]
        return joined

    def save(self, path: Path) -> None:
        """Write the fingerprints of images to an `.npz` file."""
        digests = np.frombuffer(b"".join(self.digests), np.uint8).reshape(len(self.digests), -1)
        np.savez(path, digests=digests, thumbnails=np.concatenate(self._thumbnails))

    @classmethod
    def load(cls, path: Path) -> Fingerprints:
        """What `save` wrote."""
        loaded = cls()
        with np.load(path, allow_pickle=False) as arrays:
            loaded.digests = [row.tobytes() for row in arrays["digests"]]
            loaded._thumbnails = [arrays["thumbnails"]]
        return loaded

    def copies(self) -> list[list[int]]:
        """Groups of images with equal pixels, each in ascending order; images of one colour are in none."""
        groups: dict[bytes, list[int]] = defaultdict(list)
        for index, digest in enumerate(self.digests):
            groups[digest].append(index)
        groups.pop(BLANK, None)
        return [group for group in groups.values() if len(group) > 1]

    def count_copies(self) -> int:
        """How many images are copies of an earlier one."""
        return sum(len(group) - 1 for group in self.copies())

    def near_pairs(
        self, read: Callable[[int], npt.NDArray[Any]], *, first_below: int | None = None, most: int | None = None
    ) -> tuple[list[NearPair], bool]:
        """Pairs of nearly equal images, the nearest first, and whether these are all.

        Of images with equal pixels the first stands for all. Images of one colour are left out. Vectors have no pairs.
        A pair's thumbnails are close, and so are its pixels. Where more than `MAX_COMPARED` pairs have close
        thumbnails, as in pictures of noise or of fabric, the closest of them are compared.

        Args:
            read: gives the pixels of an image by its index.
            first_below: return only pairs whose first image has a lower index than this.
            most: the number of pairs to return at most; `MAX_PAIRS` by default.
        """
        if not self._thumbnails:
            return [], True
        most = MAX_PAIRS if most is None else most
        first_places = {digest: i for i, digest in reversed(list(enumerate(self.digests)))}
        first_places.pop(BLANK, None)
        distinct = np.array(sorted(first_places.values()), np.int64)
        if len(distinct) < 2:
            return [], True
        thumbnails = np.concatenate(self._thumbnails)[distinct].astype(np.float32)
        queried = len(distinct) if first_below is None else int(np.searchsorted(distinct, first_below))
        found = _candidates(thumbnails, queried)
        candidates, complete, pairs = found.in_order(), found.complete, list[NearPair]()
        with progress(len(candidates), "comparing images") as bar:
            for first, second in distinct[candidates].tolist():
                if len(pairs) == most:
                    complete = False
                    break
                one, two = (read(index).astype(np.float32) for index in (first, second))
                difference = float(np.sqrt(np.square(one - two).mean()))
                if difference <= _PIXEL_LEVELS:
                    pairs.append(NearPair(first, second, round(difference, 2)))
                bar.update(1)
        return sorted(pairs, key=lambda pair: (pair.difference, pair.first)), complete


def _areas(side: int) -> npt.NDArray[np.float32]:
    """Weights of shape (areas, side): each area is the mean of the pixels that it covers, in part or in whole."""
    areas = min(_SIDE, side)
    edges = np.arange(areas + 1) * side / areas
    pixels = np.arange(side)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: npt.NDArray[np.float32] = (np.clip(covered, 0, None) * areas / side).astype(np.float32)
    return weights


class _Closest:
    """Collects the `MAX_COMPARED` pairs of images with the closest thumbnails.

    Attributes:
        radius: the distance within which pairs are still accepted; below 0 where no pair can be closer than those kept.
        complete: whether no pair was dropped.
    """

    def __init__(self, radius: float) -> None:
        self.radius, self.complete = radius, True
        self._pairs, self._distances = np.empty((0, 2), np.int64), np.empty(0, np.float32)

    def add(self, first: int, others: npt.NDArray[np.int64], distances: npt.NDArray[np.float32]) -> None:
        """Add the pairs of one image with others, given the distances of their thumbnails."""
        close = distances <= self.radius
        if not close.any():
            return
        pairs = np.stack([np.full(close.sum(), first), others[close]], axis=1)
        self._pairs = np.concatenate([self._pairs, pairs])
        self._distances = np.concatenate([self._distances, distances[close]])
        if len(self._pairs) > MAX_COMPARED:
            kept = np.argsort(self._distances, kind="stable")[:MAX_COMPARED]
            self._pairs, self._distances, self.complete = self._pairs[kept], self._distances[kept], False
            self.radius = float(np.nextafter(self._distances[-1], np.float32(-1)))

    def in_order(self) -> npt.NDArray[np.int64]:
        """The pairs, shape (n, 2), the closest first."""
        return self._pairs[np.argsort(self._distances, kind="stable")]


def _candidates(thumbnails: npt.NDArray[np.float32], queried: int) -> _Closest:
    """Pairs of rows that are close, the first of them among the first `queried` rows.

    Projection onto a few components never increases the distance of two points, so a search among the projections
    misses no pair.
    """
    from sklearn.neighbors import KDTree

    found = _Closest(_THUMBNAIL_LEVELS * math.sqrt(thumbnails.shape[1]))
    centred = thumbnails - thumbnails.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    points = centred @ axes[:, -_COMPONENTS:]
    tree, at_once = KDTree(points), max(1, _NEIGHBOURS_AT_ONCE // len(points))
    examined = 0
    with progress(queried, "looking for near copies") as bar:
        for start in range(0, queried, at_once):
            if found.radius < 0 or examined > _MAX_NEIGHBOURS:
                found.complete = False
                break
            neighbours = tree.query_radius(points[start : min(start + at_once, queried)], found.radius + 1e-2)
            for first, others in enumerate(neighbours, start):
                later = np.sort(others[others > first])
                found.add(first, later, np.linalg.norm(thumbnails[later] - thumbnails[first], axis=1))
            examined += sum(map(len, neighbours))
            bar.update(len(neighbours))
    return found
