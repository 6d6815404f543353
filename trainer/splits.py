"""Stratified, seeded splits: what a data set does not bring is taken out of its training pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .datasets.dataset import Indices
from .errors import DatasetError

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Splits:
    """Indices into a data set; no picture is in two of them, and every class is in all three."""

    train: Indices
    validation: Indices
    test: Indices

    def items(self) -> tuple[tuple[str, Indices], ...]:
        """(name, indices) of each split."""
        return (("train", self.train), ("validation", self.validation), ("test", self.test))


def make_splits(
    targets: npt.NDArray[np.int32], labels: tuple[str, ...], given: Mapping[str, Indices], seed: int
) -> Splits:
    """Complete the splits that a data set brings.

    From each class the same share is taken, at least one picture: 20 % for test, then 10 % of the rest for
    validation. Given splits stay as they are, but for what is taken out of training.

    Raises:
        DatasetError: a class has too few pictures to be in every split.
    """
    rng = np.random.default_rng(seed)
    train = given.get("train", np.arange(len(targets)))
    test = given.get("test")
    if test is None:
        train, test = _take(train, targets, labels, TEST_SHARE, rng, "test")
    validation = given.get("validation")
    if validation is None:
        train, validation = _take(train, targets, labels, VALIDATION_SHARE, rng, "validation")
    splits = Splits(train, validation, test)
    for name, indices in splits.items():
        counts = np.bincount(targets[indices], minlength=len(labels))
        if not counts.all():
            raise DatasetError(f"class {labels[int(counts.argmin())]!r} has no usable image in the {name} split")
    return splits


def _take(
    pool: Indices,
    targets: npt.NDArray[np.int32],
    labels: tuple[str, ...],
    share: float,
    rng: np.random.Generator,
    what: str,
) -> tuple[Indices, Indices]:
    """(what stays, what is taken), both in ascending order."""
    taken = []
    for target, label in enumerate(labels):
        members = rng.permutation(pool[targets[pool] == target])
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DatasetError(
                f"class {label!r} has too few images: {len(members)} left to take the {what} split from, "
                "and training needs one too; add images (three distinct ones a class is the least)"
            )
        taken.append(members[:count])
    chosen = np.sort(np.concatenate(taken))
    return np.setdiff1d(pool, chosen), chosen
