from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from trainer.data.splits import TEST_SHARE, TRAINING_SHARE, VALIDATION_SHARE, Splits, make_splits, sample_training
from trainer.errors import DatasetError

pytestmark = pytest.mark.fast

LABELS = ("a", "b", "c")


def targets(*counts: int) -> npt.NDArray[Any]:
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


def several(seed: int, count: int = 300) -> npt.NDArray[Any]:
    """Images of five labels, from frequent to rare, some of none; the rarest two mostly together."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((count, 5)) < [0.5, 0.3, 0.1, 0.0, 0.0]).astype(np.uint8)
    targets[:4, 3] = 1
    targets[1:4, 4] = 1
    return targets


@pytest.mark.parametrize("seed", range(5))
def test_every_one_of_several_labels_is_in_every_split_in_its_share(seed: int) -> None:
    targets, labels = several(seed), tuple("abcde")
    splits = make_splits(targets, labels, {}, seed)
    everything = np.concatenate([indices for _, indices in splits.items()])
    assert sorted(everything) == list(range(len(targets)))
    for _, indices in splits.items():
        assert targets[indices].any(axis=0).all()
    for split, share in ((splits.test, 0.2), (splits.validation, 0.08)):
        assert len(split) == pytest.approx(share * len(targets), abs=4)
        for column in range(3):
            assert targets[split, column].sum() == pytest.approx(share * targets[:, column].sum(), abs=3)
        none = ~targets.any(axis=1)
        assert none[split].sum() == pytest.approx(share * none.sum(), abs=3)
    again = make_splits(targets, labels, {}, seed)
    np.testing.assert_array_equal(again.test, splits.test)
    assert set(make_splits(targets, labels, {}, seed + 1).test) != set(splits.test)


def test_a_label_that_cannot_be_in_every_split_is_refused() -> None:
    targets = several(0)
    targets[2:, 4] = 0
    with pytest.raises(DatasetError, match=r"label 'e' has no usable image in the \w+ split, and 1 in all"):
        make_splits(targets, tuple("abcde"), {}, 0)


def test_given_splits_of_several_labels_stay() -> None:
    targets = several(0)
    given = {"train": np.arange(2, 300), "test": np.array([0, 1])}
    with pytest.raises(DatasetError, match="in the test split"):
        make_splits(targets, tuple("abcde"), given, 0)
    targets[:2] = 1
    splits = make_splits(targets, tuple("abcde"), given, 0)
    assert splits.test.tolist() == [0, 1]
    assert targets[splits.validation].any(axis=0).all()


seeds = st.integers(0, 2**31 - 1)
class_counts = st.lists(st.integers(3, 60), min_size=2, max_size=6)


def names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def assert_a_partition(splits: Splits, members: npt.NDArray[Any]) -> None:
    joined = np.concatenate([indices for _, indices in splits.items()])
    np.testing.assert_array_equal(np.sort(joined), np.sort(members))
    for _, indices in splits.items():
        assert (np.diff(indices) > 0).all(), "ascending, none twice"


def taken(share: float, count: int) -> int:
    return max(1, round(share * count))


@for_all(counts=class_counts, seed=seeds, order=st.randoms(use_true_random=False))
def test_any_classes_are_split_in_their_shares(counts: list[int], seed: int, order: Random) -> None:
    listed = targets(*counts).tolist()
    order.shuffle(listed)
    classes = np.array(listed, np.int32)
    splits = make_splits(classes, names(len(counts)), {}, seed)
    assert_a_partition(splits, np.arange(len(classes)))
    for target, count in enumerate(counts):
        test = taken(TEST_SHARE, count)
        validation = taken(VALIDATION_SHARE, count - test)
        found = [int((classes[indices] == target).sum()) for _, indices in splits.items()]
        assert found == [count - test - validation, validation, test]


@for_all(counts=class_counts, few=st.integers(1, 2), place=st.integers(0, 5), seed=seeds)
def test_a_class_of_fewer_than_three_is_refused_by_name(counts: list[int], few: int, place: int, seed: int) -> None:
    place %= len(counts)
    counts[place] = few
    with pytest.raises(DatasetError, match=f"class '{place}' has too few images"):
        make_splits(targets(*counts), names(len(counts)), {}, seed)


@for_all(counts=class_counts, seed=seeds)
def test_the_same_seed_gives_the_same_splits(counts: list[int], seed: int) -> None:
    first, again = (make_splits(targets(*counts), names(len(counts)), {}, seed) for _ in range(2))
    for (_, one), (_, other) in zip(first.items(), again.items(), strict=True):
        np.testing.assert_array_equal(one, other)


@for_all(counts=class_counts, brought=st.sampled_from(["test", "validation"]), seed=seeds)
def test_a_given_split_is_kept_and_the_other_comes_from_training(counts: list[int], brought: str, seed: int) -> None:
    classes = np.concatenate([targets(*counts), targets(*counts)])
    train, other = np.split(np.arange(len(classes)), 2)
    splits = make_splits(classes, names(len(counts)), {"train": train, brought: other}, seed)
    assert_a_partition(splits, np.arange(len(classes)))
    np.testing.assert_array_equal(dict(splits.items())[brought], other)
    made, share = (splits.validation, VALIDATION_SHARE) if brought == "test" else (splits.test, TEST_SHARE)
    assert set(made.tolist()) <= set(train.tolist())
    assert len(made) == sum(taken(share, count) for count in counts)


@for_all(counts=class_counts, seed=seeds)
def test_splits_that_are_all_given_are_untouched(counts: list[int], seed: int) -> None:
    classes = np.tile(targets(*counts), 3)
    train, validation, test = np.split(np.arange(len(classes)), 3)
    given = {"train": train, "validation": validation, "test": test}
    splits = make_splits(classes, names(len(counts)), given, seed)
    for name, indices in splits.items():
        np.testing.assert_array_equal(indices, given[name])


@for_all(shares=st.lists(st.floats(0.2, 0.9), min_size=1, max_size=5), count=st.integers(60, 150), seed=seeds)
def test_any_labels_are_in_every_split(shares: list[float], count: int, seed: int) -> None:
    marks = (np.random.default_rng(seed).random((count, len(shares))) < shares).astype(np.uint8)
    splits = make_splits(marks, names(len(shares)), {}, seed)
    assert_a_partition(splits, np.arange(count))
    for _, indices in splits.items():
        assert marks[indices].any(axis=0).all()
    # The method keeps the shares of the labels, and the size only where labels leave a choice: of 2,500 random data
    # sets, the test split was up to 1.45 * (1 + labels) samples off.
    assert len(splits.test) == pytest.approx(TEST_SHARE * count, abs=2 * (1 + len(shares)))
    assert len(splits.train) == pytest.approx(TRAINING_SHARE * count, abs=3 * (1 + len(shares)))


def test_labels_that_a_first_draw_leaves_out_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = (np.random.default_rng(29).random((12, 4)) < 0.3).astype(np.uint8)
    splits = make_splits(marks, names(4), {}, 0)
    assert all(marks[indices].any(axis=0).all() for _, indices in splits.items())
    monkeypatch.setattr("trainer.data.splits._MAX_ATTEMPTS", 1)
    with pytest.raises(DatasetError, match="has no usable image in the"):
        make_splits(marks, names(4), {}, 0)


@pytest.mark.parametrize(("wanted", "counts"), [(0.5, [36, 18, 4]), (29, [18, 9, 2]), (10, [6, 3, 1]), (3, [1, 1, 1])])
def test_a_part_of_the_training_split_keeps_the_shares(wanted: int | float, counts: list[int]) -> None:
    classes = targets(100, 50, 10)
    whole = make_splits(classes, LABELS, {}, seed=3)
    part, again, other = (sample_training(whole, classes, LABELS, wanted, seed) for seed in (3, 3, 4))
    assert np.bincount(classes[part.train]).tolist() == counts
    assert set(part.train) < set(whole.train)
    assert part.train.tolist() == sorted(part.train.tolist()) == again.train.tolist()
    assert part.train.tolist() != other.train.tolist()
    assert (part.validation is whole.validation, part.test is whole.test) == (True, True)


def test_all_training_samples_are_the_split_itself() -> None:
    classes = targets(100, 50, 10)
    whole = make_splits(classes, LABELS, {}, seed=3)
    assert sample_training(whole, classes, LABELS, 1.0, 0) is whole
    assert sample_training(whole, classes, LABELS, len(whole.train), 0) is whole


@pytest.mark.parametrize(
    ("wanted", "words"), [(116, "the training split has 115"), (2, "too few for 3 labels"), (0.001, "too few")]
)
def test_a_part_that_cannot_be_is_refused(wanted: int | float, words: str) -> None:
    classes = targets(100, 50, 10)
    with pytest.raises(DatasetError, match=words):
        sample_training(make_splits(classes, LABELS, {}, seed=3), classes, LABELS, wanted, 0)


def test_a_part_of_samples_with_several_labels() -> None:
    marks = np.random.default_rng(0).integers(0, 2, (300, 3)).astype(np.int32)
    whole = make_splits(marks, LABELS, {}, seed=0)
    part = sample_training(whole, marks, LABELS, 0.25, 0)
    assert abs(len(part.train) - 0.25 * len(whole.train)) <= 3
    shares = marks[part.train].mean(axis=0) / marks[whole.train].mean(axis=0)
    assert shares == pytest.approx([1, 1, 1], abs=0.1)
