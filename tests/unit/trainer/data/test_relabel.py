"""Classes that are joined into one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime import ImageInput
from trainer.data.dataset import Dataset
from trainer.data.relabel import check_relabelling, merge_classes
from trainer.data.sources import ArraySource
from trainer.errors import DatasetError

pytestmark = pytest.mark.fast

IMAGES = np.zeros((6, 8, 8), np.uint8)
PETS = Dataset(
    "pets",
    ("cat", "dog", "fish", "newt"),
    ImageInput(8, 8, "grey", "stretch"),
    IMAGES[..., None],
    np.array([0, 1, 2, 3, 0, 3], np.int32),
    ArraySource(IMAGES),
)


def test_a_joined_class_stands_where_its_first_member_stood() -> None:
    merged = merge_classes(PETS, ["newt, dog = walks"])
    assert merged.labels == ("cat", "walks", "fish")
    assert merged.targets.tolist() == [0, 1, 2, 1, 0, 1]
    assert merged.targets.dtype == np.int32
    assert merged.merged == ("newt, dog = walks",)
    assert PETS.labels == ("cat", "dog", "fish", "newt")


def test_a_member_may_give_its_name_and_several_may_be_merged() -> None:
    assert merge_classes(PETS, ["cat,dog=dog"]).labels == ("dog", "fish", "newt")
    both = merge_classes(PETS, ["cat,dog=warm", "fish,newt=cold"])
    assert both.labels == ("warm", "cold")
    assert both.targets.tolist() == [0, 0, 1, 1, 0, 1]


def test_labels_are_enough_to_check() -> None:
    check_relabelling(PETS.labels, ["cat,dog=pet"], "pet")
    with pytest.raises(DatasetError, match=r"no class 'dgo'; there are .*; did you mean 'dog'\?"):
        check_relabelling(PETS.labels, ["cat,dgo=pet"], None)
    with pytest.raises(DatasetError, match=r"`positive` 'dog': no such class; there are pet, fish, newt$"):
        check_relabelling(PETS.labels, ["cat,dog=pet"], "dog")


def test_no_merge_changes_nothing() -> None:
    assert merge_classes(PETS, []) is PETS


@pytest.mark.parametrize(
    ("merges", "reason"),
    [
        (["cat,dog"], "expected two or more classes and a name"),
        (["cat=dog"], "expected two or more classes and a name"),
        (["cat,=pet"], "expected two or more classes and a name"),
        (["cat,dog="], "expected two or more classes and a name"),
        (["cat,cow=pet"], "no class 'cow'; there are cat, dog"),
        (["cat,cat=pet"], "'cat' is named twice"),
        (["cat,dog=pet", "dog,fish=other"], "'dog' is named twice"),
        (["cat,dog=fish"], "'fish' is that of a class which is not merged"),
        (["cat,dog=pet", "fish,newt=pet"], "'pet' is made by another `merge`"),
        (["cat,dog,fish,newt=animal"], "the only class left"),
    ],
)
def test_a_merge_that_cannot_be_is_named(merges: list[str], reason: str) -> None:
    with pytest.raises(DatasetError) as error:
        merge_classes(PETS, merges)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_splits_that_were_given_stay() -> None:
    given = {"train": np.arange(4), "test": np.arange(4, 6)}
    assert merge_classes(replace(PETS, given=given), ["cat,dog=pet"]).given == given
