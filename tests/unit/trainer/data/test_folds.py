"""Folds: the same share of each class in each, near copies together, and classes with too few samples in none."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data.folds import NO_FOLD, groups_of_copies, make_folds
from trainer.errors import DatasetError

pytestmark = pytest.mark.fast

TARGETS = np.repeat([0, 1, 2], [40, 22, 9]).astype(np.int64)


def test_each_class_is_spread_evenly_and_the_seed_decides() -> None:
    folds = make_folds(TARGETS, [], 4, seed=1)
    for target in range(3):
        counts = np.bincount(folds[target == TARGETS], minlength=4)
        assert np.ptp(counts) <= 1
    assert np.ptp(np.bincount(folds, minlength=4)) <= 1
    assert (folds == make_folds(TARGETS, [], 4, seed=1)).all()
    assert (folds != make_folds(TARGETS, [], 4, seed=2)).any()


def test_groups_stay_together_also_across_classes() -> None:
    groups = [[0, 5, 39], [10, 45], [60, 61]]
    folds = make_folds(TARGETS, groups, 3, seed=0)
    for group in groups:
        assert len({*folds[group].tolist()}) == 1
    assert {*folds.tolist()} == {0, 1, 2}


def test_a_class_of_too_few_is_in_every_training() -> None:
    targets = np.array([0] * 10 + [1, 1] + [2] * 3)
    folds = make_folds(targets, [], 4, seed=0)
    assert (folds[targets == 1] == NO_FOLD).all()
    assert (folds[targets == 2] >= 0).all()
    copies = make_folds(targets, [[12, 13]], 4, seed=0)
    assert (copies[targets == 2] == NO_FOLD).all(), "two of its three are copies"
    with pytest.raises(DatasetError, match="three of a class are the least"):
        make_folds(np.array([0, 0, 1, 1]), [], 2, seed=0)


def test_copies_and_near_copies_make_groups() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 16, 16, 1), dtype=np.uint8)
    members = np.array([11, 1, 2, 3, 4, 5, 6, 7])
    images[3] = images[1]
    near = images[1].astype(np.int16)
    near[::5, ::5] += 6
    images[5] = np.clip(near, 0, 255)
    images[0] = images[2]  # not a member
    assert groups_of_copies(images, members) == [[1, 3, 5]]
    vectors = rng.normal(size=(5, 3))
    vectors[4] = vectors[0]
    assert groups_of_copies(vectors, np.arange(5)) == [[0, 4]]
