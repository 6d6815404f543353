"""Stratified, seeded splits: what a data set does not bring is taken out of its training pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError
from .multilabel_splits import take_share
from .sources import Indices

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2
#: Of images with several labels: the rarest may need another order of the images to be in every split.
_ATTEMPTS = 20


@dataclass(frozen=True)
class Splits:
    """Indices into a data set; no picture is in two of them, and every class is in all three."""

    train: Indices
    validation: Indices
    test: Indices

    def items(self) -> tuple[tuple[str, Indices], ...]:
        """(name, indices) of each split."""
        return (("train", self.train), ("validation", self.validation), ("test", self.test))


def make_splits(targets: npt.NDArray[Any], labels: tuple[str, ...], given: Mapping[str, Indices], seed: int) -> Splits:
    """Complete the splits that a data set brings.

    From each class the same share is taken, at least one picture: 20 % for test, then 10 % of the rest for
    validation. Given splits stay as they are, but for what is taken out of training. Of pictures with several labels,
    each label has about that share.

    Raises:
        DatasetError: a class has too few pictures to be in every split, or a label none in one of them; or splits are
            given, and none of them is for training.
    """
    if given and "train" not in given:
        raise DatasetError(
            f"no usable image is in the train split, only in {' and '.join(given)}; a training needs some there, and "
            "to measure a model on all of them there is evaluate --split all"
        )
    rng = np.random.default_rng(seed)
    for _ in range(_ATTEMPTS if targets.ndim == 2 else 1):
        splits = _complete(targets, labels, given, rng)
        absent = [
            (name, target)
            for name, indices in splits.items()
            for target in np.flatnonzero(_counts(targets, indices, len(labels)) == 0)
        ]
        if not absent:
            return splits
    name, target = absent[0]
    what = "class" if targets.ndim == 1 else "label"
    raise DatasetError(
        f"{what} {labels[target]!r} has no usable image in the {name} split, and "
        f"{_counts(targets, np.arange(len(targets)), len(labels))[target]} in all; every split needs one: "
        "add images of it, correct it, or join it to another with --merge"
    )


def _counts(targets: npt.NDArray[Any], indices: Indices, labels: int) -> npt.NDArray[np.int64]:
    """Pictures of each label in a split."""
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
    what: str,
) -> tuple[Indices, Indices]:
    """(what stays, what is taken), both in ascending order."""
    if targets.ndim == 2:
        return take_share(pool, targets, share, rng)
    taken = []
    for target, label in enumerate(labels):
        members = rng.permutation(pool[targets[pool] == target])
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DatasetError(
                f"class {label!r} has too few images or rows: {len(members)} left to take the {what} split from, and "
                "training needs one too; three distinct ones a class are the least: add some, or join it to another "
                "with --merge"
            )
        taken.append(members[:count])
    chosen = np.sort(np.concatenate(taken))
    return np.setdiff1d(pool, chosen), chosen
