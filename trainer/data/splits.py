"""Stratified, seeded splits: those that a data set does not bring are taken out of its training samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError
from .sources import Indices

TEST_SHARE = 0.2
#: The share of the samples outside the test split.
VALIDATION_SHARE = 0.1
TRAINING_SHARE = (1 - TEST_SHARE) * (1 - VALIDATION_SHARE)
#: A rare label of a multilabel data set may need another order of the images to be in every split.
_MAX_ATTEMPTS = 20
_KEPT, _TAKEN = 0, 1


@dataclass(frozen=True)
class Splits:
    """Indices into a data set, ascending. No sample is in two splits, and every class is in all three."""

    train: Indices
    validation: Indices
    test: Indices

    def items(self) -> tuple[tuple[str, Indices], ...]:
        """(name, indices) of each split."""
        return (("train", self.train), ("validation", self.validation), ("test", self.test))


def given_splits(names: Sequence[str]) -> dict[str, Indices]:
    """The indices of each split that a data set brings, from the split of each sample; "" stands for none."""
    splits = np.array(names)
    return {name: np.flatnonzero(splits == name) for name in sorted({*names} - {""})}


def make_splits(targets: npt.NDArray[Any], labels: tuple[str, ...], given: Mapping[str, Indices], seed: int) -> Splits:
    """Complete the splits that a data set brings.

    Each class gives the same share of its samples, at least one: `TEST_SHARE` for test, then `VALIDATION_SHARE` of the
    rest for validation. Given splits stay as they are, except that missing ones are taken out of training. In a
    multilabel data set each label has about that share in each split.

    Args:
        targets: (n,) classes, or (n, labels) of 0 and 1.
        given: indices by name: "train", "validation", "test"; a given split without "train" is refused.

    Raises:
        DatasetError: a class has too few samples to be in every split, or a label has none in one of them; or splits
            are given, and none of them is for training.
    """
    if given and "train" not in given:
        raise DatasetError(
            f"no usable image is in the train split, only in {' and '.join(given)}; a training needs some there, and "
            "`split=all` measures a model on all of them"
        )
    rng = np.random.default_rng(seed)
    for _ in range(_MAX_ATTEMPTS if targets.ndim == 2 else 1):
        splits = _complete(targets, labels, given, rng)
        absent = [
            (name, target)
            for name, indices in splits.items()
            for target in np.flatnonzero(count_labels(targets, indices, len(labels)) == 0)
        ]
        if not absent:
            return splits
    name, target = absent[0]
    what = "class" if targets.ndim == 1 else "label"
    raise DatasetError(
        f"{what} {labels[target]!r} has no usable image in the {name} split, and "
        f"{count_labels(targets, np.arange(len(targets)), len(labels))[target]} in all; every split needs one: "
        "add images of it, correct it, or join it to another with `merge`"
    )


def count_labels(targets: npt.NDArray[Any], indices: Indices, labels: int) -> npt.NDArray[np.int64]:
    """How many of some samples have each label, shape (labels,)."""
    chosen = targets[indices]
    return np.bincount(chosen, minlength=labels) if targets.ndim == 1 else chosen.sum(axis=0, dtype=np.int64)


def _complete(
    targets: npt.NDArray[Any], labels: tuple[str, ...], given: Mapping[str, Indices], rng: np.random.Generator
) -> Splits:
    train = given.get("train", np.arange(len(targets)))
    test = given.get("test")
    if test is None:
        train, test = _take(train, targets, labels, TEST_SHARE, rng, "test")
    validation = given.get("validation")
    if validation is None:
        train, validation = _take(train, targets, labels, VALIDATION_SHARE, rng, "validation")
    return Splits(train, validation, test)


def _take(
    pool: Indices,
    targets: npt.NDArray[Any],
    labels: tuple[str, ...],
    share: float,
    rng: np.random.Generator,
    split: str,
) -> tuple[Indices, Indices]:
    """The samples that remain in the pool, and those taken for a split, both in ascending order."""
    if targets.ndim == 2:
        return _take_multilabel(pool, targets, share, rng)
    taken = []
    for target, label in enumerate(labels):
        members = rng.permutation(pool[targets[pool] == target])
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DatasetError(
                f"class {label!r} has too few images or rows: {len(members)} left to take the {split} split from, and "
                "training needs one too; three distinct ones a class are the least: add some, or join it to another "
                "with `merge`"
            )
        taken.append(members[:count])
    chosen = np.sort(np.concatenate(taken))
    return np.setdiff1d(pool, chosen), chosen


def _take_multilabel(
    pool: Indices, targets: npt.NDArray[Any], share: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """As `_take`, with a share of each label's images that is as close to `share` as possible.

    The rarest label among the images that are not assigned comes first, and each of its images goes to the part that
    lacks it most: frequent labels come out right by themselves. Images of no label count as a label of their own. A
    label of two images or more is meant to have one in either part.

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
        unassigned = marks[part < 0].sum(axis=0)
        rarest = int(np.where(unassigned > 0, unassigned, len(rows) + 1).argmin())
        for row in np.flatnonzero(marks[:, rarest] & (part < 0)):
            lacks = [(room[side, rarest], images[side]) for side in (_KEPT, _TAKEN)]
            chosen = _TAKEN if lacks[_TAKEN] > lacks[_KEPT] else _KEPT
            part[row] = chosen
            room[chosen] -= marks[row]
            images[chosen] -= 1
    return np.sort(rows[part == _KEPT]), np.sort(rows[part == _TAKEN])
