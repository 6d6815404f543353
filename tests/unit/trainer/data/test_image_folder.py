from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from runtime import ImageInput, load_pixels
from runtime.image_formats import PLOT_MARK
from tests.support.datasets import SHADES, draw_colour_image, fill_class
from trainer.data import Geometry, load_dataset
from trainer.data.dataset import Dataset
from trainer.data.sources import FileSource
from trainer.errors import DatasetError

pytestmark = pytest.mark.fast


def load(root: Path, geometry: Geometry | None = None) -> Dataset:
    return load_dataset(str(root), geometry or Geometry())


def test_one_subfolder_a_class(colour_folder: Path) -> None:
    data = load(colour_folder)
    assert data.name == "shades"
    assert data.labels == ("blue", "green", "red")
    assert data.given == {}
    assert data.left_out == ()
    assert np.bincount(data.targets).tolist() == [30, 30, 30]
    assert isinstance(data.input, ImageInput)
    assert data.input.colour == "rgb"
    assert 20 <= data.input.height <= 60
    assert data.pixels.shape == (90, *data.input.shape)


def test_pixels_are_what_the_device_will_see(colour_folder: Path) -> None:
    data = load(colour_folder, Geometry((12, 10), resize="pad"))
    assert isinstance(data.source, FileSource)
    assert isinstance(data.input, ImageInput)
    for path, pixels, target in zip(data.source.paths, data.pixels, data.targets, strict=True):
        np.testing.assert_array_equal(pixels, load_pixels(data.source.root / path, data.input))
        assert path.startswith(data.labels[target] + "/")


def test_splits_above_the_classes(tmp_path: Path) -> None:
    for split, seeds in (("train", range(20)), ("val", range(20, 25)), ("test", range(25, 32))):
        for label in SHADES:
            fill_class(tmp_path / split / label, label, seeds)
    data = load(tmp_path)
    assert data.labels == tuple(SHADES)
    assert {name: len(indices) for name, indices in data.given.items()} == {"train": 60, "validation": 15, "test": 21}
    assert isinstance(data.source, FileSource)
    for name, folder in (("train", "train/"), ("validation", "val/"), ("test", "test/")):
        assert all(data.source.paths[i].startswith(folder) for i in data.given[name])


def test_our_own_plots_are_no_images_of_a_class(colour_folder: Path) -> None:
    root = colour_folder
    mark = PngInfo()
    for key, value in PLOT_MARK.items():
        mark.add_text(key, value)
    Image.new("RGB", (300, 200), "white").save(root / "red" / "grid.png", pnginfo=mark)
    data = load(root)
    assert np.bincount(data.targets).tolist() == [30, 30, 30]
    assert data.left_out == (f"{root}/red/grid.png: a plot that Pocketlens drew, not an image",)
    (root / "run").mkdir()  # as a training with `--out` in its own data set leaves it
    shutil.move(root / "red" / "grid.png", root / "run" / "curves.png")
    with pytest.raises(
        DatasetError, match=r"class 'run' has no usable image; the first: .*a plot that Pocketlens drew"
    ):
        load(root)


def test_a_class_folder_is_not_taken_for_the_data_set(colour_folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"no class folders; .* it holds images, so is it a class"):
        load(colour_folder / "red")


def test_grey_images_make_a_grey_input(tmp_path: Path) -> None:
    for label, shade in (("dark", 20), ("light", 220)):
        (tmp_path / label).mkdir()
        for i in range(5):
            Image.new("L", (17, 11), shade + i).save(tmp_path / label / f"{i}.png")
    data = load(tmp_path)
    assert data.input.shape == (11, 17, 1)
    assert load(tmp_path, Geometry((8, 8), "rgb")).input.shape == (8, 8, 3)


def test_large_images_are_brought_to_96(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(4):
            Image.new("RGB", (800, 400), (i * 50, ord(label), 0)).save(tmp_path / label / f"{label}{i}.jpg")
    assert load(tmp_path, Geometry()).input.shape == (48, 96, 3)


def test_what_is_hidden_in_a_class_is_no_image_of_it(colour_folder: Path) -> None:
    for hidden in (".thumbnails", "more/.picasaoriginals"):
        fill_class(colour_folder / "red" / hidden, "red", range(100, 103))
    shutil.copy(colour_folder / "blue/0.jpg", colour_folder / "red" / "._0.jpg")
    fill_class(colour_folder / "red" / "more" / "seen", "red", range(103, 105))
    data = load(colour_folder)
    assert np.bincount(data.targets).tolist() == [30, 30, 32]
    assert data.left_out == ()


def test_jpegs_of_other_names_are_taken(colour_folder: Path) -> None:
    for name in ("browser.jfif", "old.JPE"):
        draw_colour_image("red", len(name) + 500).save(colour_folder / "red" / name, "JPEG")
    assert np.bincount(load(colour_folder).targets).tolist() == [30, 30, 32]


def test_loose_pictures_are_told(tmp_path: Path) -> None:
    for split, seeds in (("train", range(6)), ("test", range(6, 9))):
        for label in SHADES:
            fill_class(tmp_path / "set" / split / label, label, seeds)
    for place in ("set/loose.png", "set/train/below.HEIC"):
        (tmp_path / place).write_bytes(b"any")
    for place in ("set/.hidden.png", "set/notes.txt", "set/test/._other.jpg"):
        (tmp_path / place).write_bytes(b"any")
    data = load(tmp_path / "set")
    assert len(data.targets) == 27
    assert data.left_out == tuple(
        f"{tmp_path / place}: lies in no class folder; move it into one"
        for place in ("set/loose.png", "set/train/below.HEIC")
    )
    assert data.copied == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Rot\x07", "called 'Rot\\x07', expected printable text"),
        (os.fsdecode(b"gr\xfcn"), "called 'gr\\udcfcn', expected printable text"),
        (" ", "called ' '"),
        ("x" * 201, "of up to 200 characters; rename it"),
    ],
)
def test_a_class_folder_that_cannot_be_a_label_is_told_before_an_image_is_read(
    name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("fine", name):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes(b"no image, which would be told if it were read")
    with pytest.raises(DatasetError) as caught:
        load(tmp_path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}: a class folder is called")
    assert "reading images" not in capsys.readouterr().err


def test_more_class_folders_than_a_contract_takes(tmp_path: Path) -> None:
    for number in range(10_001):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(DatasetError, match=r"10,001 labels, more than 10,000, the limit"):
        load(tmp_path)


def test_a_folder_whose_name_no_contract_takes_is_told_before_an_image_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in SHADES:
        fill_class(tmp_path / "Meine\xa0Bilder" / label, label, range(3))
    with pytest.raises(DatasetError, match=r"the data set is called 'Meine\\xa0Bilder', .*; rename the folder"):
        load(tmp_path / "Meine\xa0Bilder")
    assert "reading images" not in capsys.readouterr().err


def test_unreadable_files_are_listed_and_left_out(colour_folder: Path) -> None:
    (colour_folder / "red" / "broken.jpg").write_bytes(b"not an image")
    whole = (colour_folder / "red" / "0.jpg").read_bytes()
    (colour_folder / "red" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (colour_folder / "red" / "notes.txt").write_text("no image, and no name of one")
    (colour_folder / "red" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    os.mkfifo(colour_folder / "blue" / "pipe.png")
    data = load(colour_folder)
    assert len(data.targets) == 90
    assert len(data.left_out) == 4
    for name in ("broken.jpg", "cut.jpg", "phone.HEIC", "pipe.png"):
        assert sum(name in line for line in data.left_out) == 1


def test_a_copy_is_left_out_so_that_no_picture_is_in_two_splits(tmp_path: Path) -> None:
    for split, seeds in (("train", range(6)), ("test", range(6, 9))):
        for label in SHADES:
            fill_class(tmp_path / split / label, label, seeds)
    shutil.copy(tmp_path / "test/red/6.jpg", tmp_path / "train/red/leaked.jpg")
    data = load(tmp_path)
    assert data.left_out == ("train/red/leaked.jpg: the same file as test/red/6.jpg",)
    assert data.copied == 1
    assert len(data.given["test"]) == 9


def test_a_copy_in_another_class_is_told(colour_folder: Path) -> None:
    shutil.copy(colour_folder / "red/0.jpg", colour_folder / "blue/same.jpg")
    data = load(colour_folder)
    assert data.left_out == ("red/0.jpg: the same file as blue/same.jpg, with other labels",)
    (note,) = data.notes
    assert note.startswith("1 image left out as copies of one with other labels, which were kept; correct")


@pytest.mark.parametrize(
    ("highest", "told"),
    [
        (4095, "8 16-bit images of 12-bit values, which come out nearly black (0 to 16 of 255)"),
        (1023, "of 10-bit values"),
        (16383, "multiply the values by 4,"),
        (65535, ""),
    ],
)
def test_16_bit_images_of_fewer_bits_are_told(tmp_path: Path, highest: int, told: str) -> None:
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(4):
            values = rng.integers(highest // 4, highest + 1, (9, 9)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / label / f"{number}.png")
    notes = load(tmp_path).notes
    assert len(notes) == bool(told)
    assert not told or told in notes[0]


def test_the_date_is_that_of_the_newest_file(colour_folder: Path) -> None:
    for path in colour_folder.rglob("*.*"):
        os.utime(path, (0, 86_400 * 365))
    assert load(colour_folder).date == "1971-01-01"


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        load(tmp_path / "none")


def test_no_classes(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "loose.png")
    with pytest.raises(DatasetError, match="no class folders"):
        load(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    fill_class(tmp_path / "red", "red", range(5))
    with pytest.raises(DatasetError, match="one class"):
        load(tmp_path)


def test_an_empty_class(colour_folder: Path) -> None:
    (colour_folder / "yellow").mkdir()
    with pytest.raises(DatasetError, match="'yellow' is empty"):
        load(colour_folder)


def test_a_class_with_nothing_usable(colour_folder: Path) -> None:
    (colour_folder / "yellow").mkdir()
    (colour_folder / "yellow" / "a.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="'yellow' has no usable image"):
        load(colour_folder)


def test_a_class_that_one_split_lacks(tmp_path: Path) -> None:
    for label in SHADES:
        fill_class(tmp_path / "train" / label, label, range(6))
    fill_class(tmp_path / "test" / "red", "red", range(6, 9))
    with pytest.raises(DatasetError, match="'blue' has no folder in the test split"):
        load(tmp_path)


def test_a_folder_beside_the_splits(tmp_path: Path) -> None:
    for label in SHADES:
        fill_class(tmp_path / "train" / label, label, range(6))
    (tmp_path / "old").mkdir()
    with pytest.raises(DatasetError, match="'old' lies beside the splits"):
        load(tmp_path)


def test_an_impossible_size_is_one_plain_error(colour_folder: Path) -> None:
    with pytest.raises(DatasetError, match="height"):
        load(colour_folder, Geometry((0, 8)))


def test_data_dir_is_for_fashion_mnist_only(colour_folder: Path) -> None:
    with pytest.raises(DatasetError, match="`data_dir`"):
        load_dataset(str(colour_folder), Geometry(), colour_folder)


def test_a_misspelt_class_of_a_split_is_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        fill_class(tmp_path / split / "red", "red", range(3))
        fill_class(tmp_path / split / ("blue" if split == "train" else "bleu"), "blue", range(3))
    with pytest.raises(
        DatasetError, match=r"there is 'bleu' in the test split, and in no other; did you mean 'blue'\?"
    ):
        load(tmp_path)


def test_labels_are_checked_before_images_are_decoded(colour_folder: Path) -> None:
    (colour_folder / "red/0.jpg").write_bytes(b"damaged")
    labels: list[str] = []

    def check(found: Sequence[str]) -> None:
        labels.extend(found)
        raise DatasetError("wrong labels")

    with pytest.raises(DatasetError, match="wrong labels"):
        load_dataset(str(colour_folder), check_labels=check)
    assert {"blue", "red"} <= {*labels}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("pets.zip", b"\x1f\x8b" + bytes(99), "a gzip archive, and no data set; unpack it, and name the folder"),
        ("int8.tflite", b"\x1c\0\0\0TFL3" + bytes(99), "a TensorFlow Lite model, and no data set"),
        ("pets.txt", b"a,b\n", "a text file, and no data set; give it the suffix .csv if it is a table"),
        ("pets.csv", b"\x89PNG\r\n\x1a\n" + bytes(99), r"an image \(PNG\), and no data set"),
    ],
)
def test_a_file_that_is_no_data_set_is_named(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        load_dataset(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "meant"), [("fashion_mnist", "fashion-mnist"), ("FashionMNIST", "fashion-mnist"), ("pet", "pets")]
)
def test_a_name_that_is_none_is_answered_with_the_known_ones(
    name: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DatasetError, match=rf"{name}: no such.*digits, fashion-mnist, circles.*; did you mean '{meant}'"
    ):
        load_dataset(name)


def test_a_run_folder_is_no_data_set(tmp_path: Path) -> None:
    for name in ("contract.json", "model.keras"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(DatasetError, match="a run folder, and no data set; name the data set that it was trained with"):
        load_dataset(str(tmp_path))
