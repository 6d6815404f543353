"""Folders of images as people and archives arrange them: splits by any name, what systems leave, and unclear ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data import Dataset, load_dataset
from trainer.data.folder_layout import UNLABELLED, split_of
from trainer.data.label_names import label_remarks
from trainer.errors import DatasetError

pytestmark = pytest.mark.fast

_numbers = iter(range(10**6))


def put(*folders: Path, count: int = 3) -> None:
    """Some small images into each folder, each unlike all others."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            number = next(_numbers)
            Image.fromarray(np.random.default_rng(number).integers(0, 255, (9, 9), np.uint8)).save(
                folder / f"{number}.png"
            )


def load(root: Path) -> Dataset:
    return load_dataset(str(root))


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            ["train", "Training", "TRAINING_SET", "train-data", "seg_train", "trainset", "Train Images", "train2"],
        ),
        ("validation", ["val", "Valid", "validation_set", "valset", "images_val", "val2017"]),
        ("test", ["test", "Testing", "test_set", "seg_test", "TestData", "test1", "02_test"]),
        (UNLABELLED, ["seg_pred", "pred", "predictions", "unlabelled"]),
        ("", ["cat", "test tube", "training shoe", "set", "data", "images", "tester", "trained", "latest", "contest"]),
    ],
)
def test_names_of_splits(split: str, names: list[str]) -> None:
    assert [name for name in names if split_of(name) != split] == []


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("Training", "Testing"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("TRAIN", "Test_Data"),
    ],
)
def test_splits_by_the_names_of_archives(tmp_path: Path, train: str, test: str) -> None:
    for split in (train, test):
        put(tmp_path / split / "cat", tmp_path / split / "dog")
    data = load(tmp_path)
    assert data.labels == ("cat", "dog")
    assert {name: len(indices) for name, indices in data.given.items()} == {"train": 6, "test": 6}
    assert data.notes == ()


@pytest.mark.parametrize("flat", ["seg_pred/seg_pred", "seg_pred", "test1", "valid"])
def test_a_split_without_classes_is_passed_over_with_a_count(tmp_path: Path, flat: str) -> None:
    put(*(tmp_path / "train" / name for name in ("cat", "dog")))
    put(tmp_path / flat, count=5)
    data = load(tmp_path)
    assert (data.labels, len(data.targets), data.left_out) == (("cat", "dog"), 6, ())
    top = tmp_path / Path(flat).parts[0]
    assert data.notes == (f"{top}: 5 images without class folders; passed over",)


@pytest.mark.parametrize("name", ["test", "Testing", "validation_set", "seg_pred"])
def test_a_flat_split_among_classes_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / "cat", tmp_path / "dog", tmp_path / name)
    with pytest.raises(DatasetError, match=f"'{name}' has the name of a split, lies among classes, .* rename it if"):
        load(tmp_path)


def test_splits_without_classes_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path / "train", tmp_path / "test")
    with pytest.raises(DatasetError, match="arrange the images as train/CLASS and test/CLASS"):
        load(tmp_path)


def test_a_test_split_beside_the_classes_of_the_training(tmp_path: Path) -> None:
    put(*(tmp_path / name for name in ("cat", "dog", "test/cat", "test/dog")))
    with pytest.raises(DatasetError, match=r"'cat' lies beside the splits .* into the folder train"):
        load(tmp_path)


def test_a_train_is_a_vehicle_too(tmp_path: Path) -> None:
    put(*(tmp_path / "flat" / name for name in ("bus", "train")))
    assert load(tmp_path / "flat").labels == ("bus", "train")
    put(*(tmp_path / "split" / split / name for split in ("train", "test") for name in ("bus", "train")))
    data = load(tmp_path / "split")
    assert data.labels == ("bus", "train")
    assert len(data.given["test"]) == 6


def test_the_same_subfolders_everywhere_are_refused(tmp_path: Path) -> None:
    put(*(tmp_path / fold / name for fold in ("fold1", "fold2", "fold3") for name in ("cat", "dog")))
    put(tmp_path / "fold1" / "extra")
    with pytest.raises(DatasetError, match=r"\(fold1, fold2, fold3\) have the same subfolders \(cat, dog\); if these"):
        load(tmp_path)


def test_one_common_subfolder_says_nothing(tmp_path: Path) -> None:
    put(*(tmp_path / name / "images" for name in ("cat", "dog")))
    assert load(tmp_path).labels == ("cat", "dog")


@pytest.mark.parametrize("others", [("test",), ()])
def test_splits_below_the_classes_are_refused(tmp_path: Path, others: tuple[str, ...]) -> None:
    put(*(tmp_path / "cat" / split for split in ("Train", "Test")), tmp_path / "dog")
    put(*(tmp_path / "dog" / split for split in others))
    with pytest.raises(DatasetError, match="'cat' holds the splits Test, Train; put the splits above the classes"):
        load(tmp_path)


def test_a_folder_around_the_classes_is_named(tmp_path: Path) -> None:
    put(*(tmp_path / "photos" / name for name in ("cat", "dog")))
    with pytest.raises(
        DatasetError, match=r"one class \(photos\); if its subfolders \(cat, dog\) are the classes, name"
    ):
        load(tmp_path)


def test_what_systems_leave_is_passed_over_with_a_count(tmp_path: Path) -> None:
    put(tmp_path / "cat", tmp_path / "dog")
    put(tmp_path / "__MACOSX" / "cat", tmp_path / "cat" / "@eaDir", tmp_path / ".ipynb_checkpoints", count=2)
    put(tmp_path / "dog" / ".thumbnails", count=1)
    for place in ("Thumbs.db", "cat/Thumbs.db", "dog/desktop.ini", "dog/.DS_Store", "dog/._1.jpg", "dog/._2.jpg"):
        (tmp_path / place).write_bytes(b"any")
    data = load(tmp_path)
    assert (data.labels, len(data.targets), data.left_out) == (("cat", "dog"), 6, ())
    (note,) = data.notes
    assert note.startswith(
        f"{tmp_path}: passed over 12 hidden files (._*, .ipynb_checkpoints, .thumbnails, @eaDir, Thumb"
    )


def test_no_note_about_a_hidden_file_that_is_no_image(tmp_path: Path) -> None:
    put(tmp_path / "cat", tmp_path / "dog")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"any")
    assert load(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (("Cat", "cat"), "the labels 'Cat' and 'cat' differ .* `merge=Cat,cat=Cat`"),
        (("t-shirt", "T shirt"), "join them"),
        (("cat ", "cat"), "join them"),
        (("cafe\u0301", "caf\u00e9"), "join them"),
        (("Unknown", "cat"), "a class is called 'Unknown', and a device answers 'unknown' as well"),
    ],
)
def test_odd_labels_are_told(labels: tuple[str, ...], told: str) -> None:
    (remark,) = label_remarks(labels)
    assert re.search(told, remark)


@pytest.mark.parametrize("labels", [("cat", "cats"), ("1", "-1"), ("1-0", "10"), ("C", "C++", "C#"), ("1", "01")])
def test_labels_that_mean_different_things(labels: tuple[str, ...]) -> None:
    assert [*label_remarks(labels)] == []
