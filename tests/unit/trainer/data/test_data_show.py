"""The command `data show`: counts, sizes, pixels, copies and near copies, files left out, samples, one image."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from runtime.image_formats import PLOT_MARK
from runtime.input_spec import ImageInput
from tests.support.commands import answer, invoke
from tests.support.datasets import draw_colour_image, fill_class
from trainer.data import Dataset, Geometry, load_dataset
from trainer.data.dataset import ResizedPixels
from trainer.data.samples import choose_samples, label_of
from trainer.data.sources import ArraySource
from trainer.data.splits import make_splits
from trainer.data.summary import summarize
from trainer.plots.image_grid import Tile, save_image, save_tiles
from trainer.plots.scatter import save_scatter

pytestmark = pytest.mark.fast


def test_digits_are_counted_as_training_will_split_them() -> None:
    data = load_dataset("digits", Geometry())
    seen = summarize(data, seed=5)
    splits = make_splits(data.targets, data.labels, data.given, 5)
    for name, indices in splits.items():
        assert seen.counts[name] == np.bincount(data.targets[indices]).tolist()
        assert {seen.splits[index] for index in indices} == {name}
    assert seen.counts["all"] == np.bincount(data.targets).tolist()
    assert sum(seen.counts["all"]) == 1797
    assert seen.sizes == [(8, 8, 1797)]
    assert seen.grey == 1797
    assert seen.values.least == (0,)
    assert seen.values.greatest == (255,)
    assert seen.values.mean[0] == pytest.approx(data.pixels[:].mean(), abs=0.001)
    assert seen.values.std[0] == pytest.approx(data.pixels[:].std(), abs=0.001)


@pytest.fixture
def folder_with_copies(colour_folder: Path) -> Path:
    """The colour folder with all that can be twice in it, and a broken file."""
    original = colour_folder / "red" / "extra.png"
    draw_colour_image("red", 9000).resize((90, 90), Image.Resampling.BICUBIC).save(original)
    (colour_folder / "red" / "same-bytes.png").write_bytes(original.read_bytes())
    with Image.open(original) as image:
        image.save(colour_folder / "green" / "same-pixels.bmp")
        image.save(colour_folder / "red" / "nearly.jpg", quality=75)
        image.resize((140, 140), Image.Resampling.LANCZOS).save(colour_folder / "red" / "larger.png")
    (colour_folder / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return colour_folder


def test_a_folder_with_copies_says_so(folder_with_copies: Path, tmp_path: Path) -> None:
    plot = tmp_path / "samples.png"
    options = ("data", "show", folder_with_copies, "--image-size", 48, "--plot", plot)
    found = json.loads(answer(*options, "--json"))
    assert found["images"] == 94
    assert found["labels"] == ["blue", "green", "red"]
    assert found["counts"]["all"] == {"blue": 30, "green": 31, "red": 33}
    assert sum(sum(found["counts"][name].values()) for name in ("train", "validation", "test")) == 94
    assert found["grey"] == 0
    assert found["colour"] == 94
    assert {"height": 140, "width": 140, "images": 1} in found["sizes"]
    assert sum(size["images"] for size in found["sizes"]) == 94
    assert len(found["pixels"]["mean"]) == 3

    (group,) = found["copies"]
    assert [item["file"] for item in group["images"]] == ["green/same-pixels.bmp", "red/extra.png"]
    assert [item["label"] for item in group["images"]] == ["green", "red"]
    pairs = [{item["file"] for item in pair["images"]} for pair in found["near_copies"]]
    assert {"green/same-pixels.bmp", "red/nearly.jpg"} in pairs
    assert {"green/same-pixels.bmp", "red/larger.png"} in pairs
    assert all(pair <= {"green/same-pixels.bmp", "red/nearly.jpg", "red/larger.png"} for pair in pairs)
    assert all(0 < pair["difference"] <= 8 for pair in found["near_copies"])
    splits = {item["file"]: item["split"] for pair in found["near_copies"] for item in pair["images"]}
    for pair in found["near_copies"]:
        assert pair["across_splits"] == (len({splits[item["file"]] for item in pair["images"]}) > 1)

    assert len(found["left_out"]) == 2
    assert any("broken.jpg" in line for line in found["left_out"])
    with Image.open(plot) as picture:
        assert len(picture.convert("RGB").getcolors(10**6)) > 1000

    text = answer(*options)
    assert "left out: 2 (1 copies of other files, 1 unusable)" in text
    assert "same-bytes.png: the same file as red/extra.png" in text
    assert "copies: 1 group" in text
    assert "1 with different labels" in text
    assert "left out" not in text.partition("left out:")[0]


def test_a_class_too_small_to_split_is_shown_with_the_reason(tmp_path: Path) -> None:
    fill_class(tmp_path / "set" / "red", "red", range(8))
    fill_class(tmp_path / "set" / "blue", "blue", range(1))
    text = answer("data", "show", tmp_path / "set")
    assert "splits: cannot be made: class 'blue' has too few images" in text
    assert re.search(r"^blue +1$", text, re.M)
    assert json.loads(answer("data", "show", tmp_path / "set", "--json"))["counts"] == {"all": {"blue": 1, "red": 8}}


def test_one_image_is_shown_with_its_values(tmp_path: Path) -> None:
    plot = tmp_path / "deep" / "one.png"
    text = answer("data", "show", "digits", "--index", 3, "--plot", plot)
    data = load_dataset("digits", Geometry())
    printed = [[int(value) for value in line.split()] for line in text.partition("values:\n")[2].splitlines()[:8]]
    assert printed == data.pixels[3, :, :, 0].tolist()
    assert "label: 3" in text
    with Image.open(plot) as picture:
        assert min(picture.size) > 300


def test_an_image_of_a_folder_is_named_and_an_index_beyond_is_bad_usage(colour_folder: Path) -> None:
    seen = json.loads(answer("data", "show", colour_folder, "--index", 31, "--json"))
    with Image.open(colour_folder / seen["file"]) as image:
        assert seen["size"] == f"{image.height}x{image.width}"
    assert seen["label"] == seen["file"].partition("/")[0]
    assert np.shape(seen["values"])[2] == 3
    result = invoke("data", "show", colour_folder, "--index", 90)
    assert result.exit_code == 2
    assert "0 to 89" in result.stderr


def array_dataset(images: npt.NDArray[Any], targets: npt.NDArray[Any], labels: tuple[str, ...]) -> Dataset:
    spec = ImageInput(images.shape[1], images.shape[2], "grey")
    return Dataset("made", labels, spec, images[..., None], targets, ArraySource(images))


def test_near_copies_stop_at_a_number_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.duplicates.MAX_PAIRS", 5)
    rng = np.random.default_rng(0)
    images = (100 + rng.integers(0, 3, (30, 12, 12))).astype(np.uint8)
    seen = summarize(array_dataset(images, np.arange(30, dtype=np.int32) % 3, ("a", "b", "c")), 0)
    assert len(seen.near) == 5
    assert not seen.near_complete
    assert seen.as_dict()["near_copies_complete"] is False


class CountedPixels:
    """Pictures of an array, and how many have been asked for."""

    def __init__(self, images: npt.NDArray[Any]) -> None:
        self.shape, self.asked = images.shape, 0
        self._images = images

    def __getitem__(self, indices: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self.asked += len(indices)
        return np.asarray(self._images[indices])


def test_of_noise_the_likeliest_pairs_alone_are_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trainer.data.duplicates.MAX_COMPARED", 40)
    rng = np.random.default_rng(0)
    images = rng.integers(100, 150, (200, 96, 96), dtype=np.uint8)
    images[150] = np.clip(images[20].astype(int) + rng.integers(-3, 4, (96, 96)), 0, 255)
    made = array_dataset(images, np.arange(200, dtype=np.int32) % 2, ("a", "b"))
    pixels = CountedPixels(images[..., None])
    seen = summarize(replace(made, pixels=pixels), 0)  # type: ignore[arg-type]
    assert [(pair.first, pair.second) for pair in seen.near] == [(20, 150)]
    assert not seen.near_complete
    assert pixels.asked == 200 + 2 * 40
    monkeypatch.setattr("trainer.data.duplicates.MAX_COMPARED", 4)
    for place, image in enumerate(images[:16]):
        path = tmp_path / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    assert "near copies: none among the likeliest pairs" in answer("data", "show", tmp_path)
    few = summarize(array_dataset(images[:3], np.arange(3, dtype=np.int32) % 2, ("a", "b")), 0)
    assert few.near == []
    assert few.near_complete


def test_pictures_with_the_same_thumbnail_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.duplicates.MAX_COMPARED", 100)
    monkeypatch.setattr("trainer.data.duplicates._NEIGHBOURS_AT_ONCE", 600)
    images = np.full((300, 24, 24), 90, np.uint8)
    images[np.arange(300), np.arange(300) % 24, np.arange(300) // 24] += 1  # one pixel, each time another
    seen = summarize(array_dataset(images, np.arange(300, dtype=np.int32) % 2, ("a", "b")), 0)
    assert len(seen.near) == 100
    assert not seen.near_complete


def test_large_pictures_are_looked_at_a_few_at_a_time() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    spec = ImageInput(1024, 1024, "rgb", filter="nearest")
    targets = np.arange(12, dtype=np.int32) % 2
    data = Dataset("made", ("a", "b"), spec, ResizedPixels(images, spec), targets, ArraySource(images))
    tracemalloc.start()
    try:
        values = summarize(data, 0).values
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80 * 2**20, "twelve such pictures are 36 MiB, and eight times as much as numbers"
    columns = images.reshape(-1, 3)
    assert values.least == tuple(columns.min(axis=0))
    assert values.greatest == tuple(columns.max(axis=0))
    assert values.mean == pytest.approx(columns.mean(axis=0), rel=1e-5)
    assert values.std == pytest.approx(columns.std(axis=0), rel=1e-5)


def test_readings_far_from_zero_keep_their_deviation(tmp_path: Path) -> None:
    times = 1.7e9 + np.tile([-5.0, 0.0, 5.0], 40)
    rows = [f"{time:.1f},{place % 7},{'ab'[place % 2]}" for place, time in enumerate(times)]
    (tmp_path / "log.csv").write_text("\n".join(["time,level,label", *rows]) + "\n")
    found = json.loads(answer("data", "show", tmp_path / "log.csv", "--json"))
    assert found["values"]["std"][0] == pytest.approx(times.std(), rel=1e-5)


def test_of_many_equal_ones_the_first_are_told(tmp_path: Path) -> None:
    rows = ["1,2,a"] * 40 + ["3,4,b"] * 6 + [f"{place},9,b" for place in range(10)]
    (tmp_path / "log.csv").write_text("\n".join(["x,y,label", *rows]) + "\n")
    large, small = [line for line in answer("data", "show", tmp_path / "log.csv").splitlines() if " = " in line]
    assert large.count("#") == 6
    assert large.endswith(" and 34 more")
    assert small.count("#") == 6
    assert "more" not in small


def test_classes_beyond_the_colours_have_another_sign(tmp_path: Path) -> None:
    vectors, labels = np.random.default_rng(0).random((20, 2)), [f"class {n}" for n in range(8)]
    for target in (0, 7):
        save_scatter(tmp_path / f"{target}.png", vectors, np.full(20, target), labels, ["x", "y"])
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "7.png").read_bytes()


def test_a_labels_list_is_counted_label_by_label() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    targets = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], np.uint8)
    data = array_dataset(images, targets, ("cat", "dog"))
    assert [label_of(data, index) for index in range(4)] == ["cat", "cat, dog", "(none)", "dog"]
    assert choose_samples(targets, 3, 0).shape == (3,)


def test_samples_are_of_all_classes_as_evenly_as_can_be() -> None:
    targets = np.array([0] * 100 + [1] * 2 + [2] * 50, np.int32)
    chosen = choose_samples(targets, 12, seed=1)
    assert np.bincount(targets[chosen]).tolist() == [5, 2, 5]
    assert len(set(chosen.tolist())) == 12
    np.testing.assert_array_equal(chosen, choose_samples(targets, 12, seed=1))
    many = np.arange(500, dtype=np.int32)
    assert len(choose_samples(many, 60, 0)) == 60


def test_any_label_can_be_drawn(tmp_path: Path) -> None:
    pixels = np.zeros((5, 9, 3), np.uint8)
    lines = (r"$\frac{", "日本語", "x" * 300, os.fsdecode(b"caf\xe9\x1b[31m"))
    save_tiles(tmp_path / "tiles.png", [Tile(pixels, lines), Tile(pixels, (), "#b2182b", True)], r"$\frac{" * 40)
    save_image(tmp_path / "one.png", pixels[:, :, :1], "".join(lines[::3]))
    for name in ("tiles.png", "one.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.info.keys() <= {"dpi", *PLOT_MARK}
            assert min(picture.size) > 100


def test_vectors_are_shown_feature_by_feature(tmp_path: Path) -> None:
    plot = tmp_path / "points.png"
    found = json.loads(answer("data", "show", "circles", "--plot", plot, "--json"))
    data = load_dataset("circles", Geometry())
    assert found["features"] == ["x", "y"]
    assert found["values"]["max"] == pytest.approx(data.pixels[:].max(axis=0), rel=1e-5)
    assert found["values"]["std"] == pytest.approx(data.pixels[:].std(axis=0), rel=1e-4)
    assert found["near_copies"] == []
    assert sum(found["counts"]["all"].values()) == len(data.targets)
    with Image.open(plot) as picture:
        assert min(picture.size) > 300
    assert json.loads(answer("data", "show", "circles", "--index", 2, "--json"))["values"]["x"] == data.pixels[2][0]
    assert "standard deviation" in answer("data", "show", "circles")
    assert invoke("data", "show", "circles", "--index", 2, "--plot", plot).exit_code == 2
