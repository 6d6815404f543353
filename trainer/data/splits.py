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
#: Beside the seed, so that the choice of training samples has random numbers of its own.
_SAMPLING = 1


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


def sample_training(
    splits: Splits, targets: npt.NDArray[Any], labels: tuple[str, ...], wanted: int | float, seed: int
) -> Splits:
    """The splits with a random part of the training samples; validation and test stay as they are.

    Each class keeps its share, and at least one sample. With several labels a sample, the shares of the labels and the
    number of samples are kept about.

    Args:
        wanted: the number of training samples, or as a float a share of them.

    Raises:
        DatasetError: there are fewer training samples, or too few are wanted for every class or label.
    """
    total = len(splits.train)
    count = max(1, round(wanted * total)) if isinstance(wanted, float) else int(wanted)
    if count > total:
        raise DatasetError(f"`train_samples` {count:,}: the training split has {total:,}; give a smaller number")
    if count == total:
        return splits
    too_few = f"`train_samples` {count:,}: too few for {len(labels)} labels"
    rng = np.random.default_rng((seed, _SAMPLING))
    if targets.ndim == 2:
        chosen = _take_multilabel(splits.train, targets, count / total, rng)[1]
    else:
        if count < len(labels):
            raise DatasetError(f"{too_few}; give one for each at least")
        of_class = [rng.permutation(splits.train[targets[splits.train] == target]) for target in range(len(labels))]
        counts = _proportional(np.array([len(members) for members in of_class]), count)
        chosen = np.sort(np.concatenate([members[:n] for members, n in zip(of_class, counts, strict=True)]))
    absent = np.flatnonzero(count_labels(targets, chosen, len(labels)) == 0)
    if len(absent):
        raise DatasetError(f"{too_few}, {labels[absent[0]]!r} has none; give more")
    return Splits(chosen, splits.validation, splits.test)


def _proportional(sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Divide a number, not below that of the classes, among them in proportion to their sizes: at least one each."""
    exact = count * sizes / sizes.sum()
    counts: npt.NDArray[np.int64] = np.maximum(1, np.floor(exact)).astype(np.int64)
    while counts.sum() < count:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > count:
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return counts


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
