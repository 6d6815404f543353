from __future__ import annotations

import numpy as np
import pytest

from trainer.errors import DatasetError
from trainer.splits import make_splits

LABELS = ("a", "b", "c")


def targets(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts).astype(np.int32)


def test_splits_are_disjoint_complete_and_stratified() -> None:
    classes = targets(100, 50, 10)
    splits = make_splits(classes, LABELS, {}, seed=3)
    joined = np.concatenate([indices for _, indices in splits.items()])
    assert sorted(joined) == list(range(160))
    assert np.bincount(classes[splits.test]).tolist() == [20, 10, 2]
    assert np.bincount(classes[splits.validation]).tolist() == [8, 4, 1]


def test_the_seed_decides() -> None:
    classes = targets(100, 50, 10)
    first, again, other = (make_splits(classes, LABELS, {}, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.test, again.test)
    np.testing.assert_array_equal(first.train, again.train)
    assert first.test.tolist() != other.test.tolist()


def test_given_splits_stay_as_they_are() -> None:
    classes = np.tile([0, 1, 2], 30).astype(np.int32)
    given = {"train": np.arange(60), "test": np.arange(60, 90)}
    splits = make_splits(classes, LABELS, given, seed=0)
    assert splits.test.tolist() == list(range(60, 90))
    assert set(splits.train) | set(splits.validation) == set(range(60))
    assert len(splits.validation) == 6


@pytest.mark.parametrize("counts", [(10, 10, 1), (10, 2, 10)])
def test_too_few_images_name_the_class_and_the_count(counts: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match="too few images"):
        make_splits(targets(*counts), LABELS, {}, seed=0)


def test_three_images_a_class_are_enough() -> None:
    splits = make_splits(targets(3, 3, 3), LABELS, {}, seed=0)
    assert [len(indices) for _, indices in splits.items()] == [3, 3, 3]


def test_a_given_split_without_a_class_is_an_error() -> None:
    with pytest.raises(DatasetError, match="'b' has no usable image in the test split"):
        make_splits(targets(9, 9, 9), LABELS, {"train": np.arange(26), "test": np.array([0, 26])}, seed=0)
