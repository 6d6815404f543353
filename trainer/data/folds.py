"""Folds of a data set: parts with the same share of each class, in which near copies stay together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError
from .dataset import PixelStore
from .duplicates import Fingerprints
from .sources import Indices

#: The fold of a sample that is in no fold, and so in every training.
NO_FOLD = -1
#: Samples of a class that must remain outside of each fold: one to train with, and one for validation.
_LEAST_OUTSIDE = 2
_READ_AT_ONCE = 256


def groups_of_copies(pixels: PixelStore, members: Indices) -> list[list[int]]:
    """Groups of samples that are equal, or nearly so: places in `members`, at least two in a group.

    Raises:
        DatasetError: an image cannot be read any more.
    """
    fingerprints = Fingerprints()
    for start in range(0, len(members), _READ_AT_ONCE):
        fingerprints.add(pixels[members[start : start + _READ_AT_ONCE]])
    near, _ = fingerprints.near_pairs(lambda place: pixels[members[[place]]][0])
    return _joined([*fingerprints.copies(), *([pair.first, pair.second] for pair in near)])


def make_folds(
    targets: npt.NDArray[np.int64], groups: Sequence[Sequence[int]], folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """The fold of each sample, 0 to folds - 1, shape (n,).

    A class of which a training could lack samples is in no fold (`NO_FOLD`): it has too few that are no copies.

    Args:
        targets: the class of each sample, shape (n,).
        groups: samples that stay in one fold, by their places; each place is in one group at most.
        folds: the number of folds, at least 2.

    Raises:
        DatasetError: no class has samples enough.
    """
    rng = np.random.default_rng(seed)
    units = _units(len(targets), groups)
    classes = int(targets.max()) + 1
    counts = np.zeros((classes, folds), np.int64)
    found = np.empty(len(targets), np.int64)
    for number in rng.permutation(len(units)).tolist():
        unit = units[number]
        of_class = counts[targets[unit[0]]]
        # Where several folds have the fewest of this class, the one with the fewest samples of all.
        fold = int(np.lexsort((counts.sum(axis=0), of_class))[0])
        found[unit] = fold
        counts[:, fold] += np.bincount(targets[unit], minlength=classes)
    rare = np.flatnonzero((counts.sum(axis=1) - counts.max(axis=1) < _LEAST_OUTSIDE) & (counts.sum(axis=1) > 0))
    found[np.isin(targets, rare)] = NO_FOLD
    if (found == NO_FOLD).all():
        raise DatasetError(
            f"{len(targets)} samples of {classes} classes are too few for folds; three of a class are the least"
        )
    return found


def _units(count: int, groups: Iterable[Sequence[int]]) -> list[list[int]]:
    """The groups, and each other sample alone, in the order of their first samples."""
    units = {min(group): [*group] for group in groups}
    grouped = {place for group in units.values() for place in group}
    return [units.get(place, [place]) for place in range(count) if place in units or place not in grouped]


def _joined(groups: Iterable[Sequence[int]]) -> list[list[int]]:
    """Groups without a common member, made of groups that may have some."""
    first: dict[int, int] = {}

    def root(place: int) -> int:
        while first.setdefault(place, place) != place:
            first[place] = place = first[first[place]]
        return place

    for group in groups:
        for place in group[1:]:
            first[root(place)] = root(group[0])
    joined: dict[int, list[int]] = {}
    for place in sorted(first):
        joined.setdefault(root(place), []).append(place)
    return [group for group in joined.values() if len(group) > 1]
