"""What the lint says of calibration images, good and bad."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from exporter.errors import ExportError
from exporter.representative_dataset import prepare_representative_dataset
from exporter.representative_dataset_checks import MIN_SAMPLES
from runtime import Contract, ImageInput
from trainer.data.run_folder import RunFolder
from trainer.data.sources import ArraySource

pytestmark = pytest.mark.fast

CLASSES = ("a", "b", "c")


def scene(seed: int, side: int = 24) -> npt.NDArray[np.uint8]:
    """A smooth picture like no other seed's."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def make_run(train: list[npt.NDArray[np.uint8]], test: list[npt.NDArray[np.uint8]], **contract: object) -> RunFolder:
    images = np.stack([*train, *test])
    pixels = np.stack(train).astype(float)
    options = {"mean": (float(pixels.mean()),), "std": (max(1.0, float(pixels.std())),), **contract}
    spec = ImageInput(24, 24, "grey", **options)  # type: ignore[arg-type]
    splits = {
        "train": np.arange(len(train)),
        "validation": np.array([], int),
        "test": np.arange(len(train), len(images)),
    }
    return RunFolder(Path("run"), Contract(CLASSES, spec), ArraySource(images), np.arange(len(images)) % 3, splits)


TEST = [scene(seed) for seed in range(5000, 5020)]
GOOD = [scene(seed) for seed in range(MIN_SAMPLES)]


def warnings(run: RunFolder) -> str:
    return "\n".join(prepare_representative_dataset(run, 10**6, 0).warnings)


def test_good_images_have_no_warning_and_their_figures() -> None:
    calibration = prepare_representative_dataset(make_run(GOOD, TEST), 10**6, 7)
    assert calibration.warnings == ()
    figures = dict(calibration.figures)
    pixels = figures.pop("pixels")
    assert figures == {
        "samples": MIN_SAMPLES,
        "seed": 7,
        "split": "train",
        "classes": 3,
        "duplicates": 0,
        "near_duplicates": 0,
        "overlap": 0,
        "near_overlap": 0,
    }
    everything = np.stack(GOOD)
    assert pixels["mean"] == pytest.approx(everything.mean(), abs=0.01)
    assert (pixels["min"], pixels["max"]) == (everything.min(), everything.max())


@pytest.mark.parametrize("count", [1, 2, 300])
def test_one_repeated_image_is_an_error(count: int) -> None:
    with pytest.raises(ExportError, match=rf"{count} images, 1 distinct"):
        prepare_representative_dataset(make_run([GOOD[0]] * count, TEST), 10**6, 0)


def test_few_images_and_copies_are_told_with_their_number() -> None:
    assert "9 images; below 100" in warnings(make_run(GOOD[:9], TEST))
    assert f"3 of {MIN_SAMPLES + 3} images are copies" in warnings(make_run([*GOOD, *GOOD[:3]], TEST))


def test_classes_without_an_image_are_told() -> None:
    run = make_run(GOOD, TEST)
    run.targets[run.splits["train"]] %= 2
    assert "only 2 of 3 classes" in warnings(run)
    run.targets[run.splits["train"]] = -1  # a folder without classes
    assert prepare_representative_dataset(run, 10**6, 0).figures["classes"] is None


def test_pictures_that_look_almost_alike_are_told() -> None:
    rng = np.random.default_rng(1)
    frames = [np.clip(GOOD[0] + rng.integers(-2, 3, (24, 24)), 0, 255).astype(np.uint8) for _ in range(40)]
    calibration = prepare_representative_dataset(make_run([*GOOD, *frames], TEST), 10**6, 0)
    assert calibration.figures["near_duplicates"] == 40
    assert f"40 of {MIN_SAMPLES + 40} images look almost like another" in "\n".join(calibration.warnings)
    noisy = [np.clip(image + rng.integers(-2, 3, (24, 24)), 0, 255).astype(np.uint8) for image in GOOD[:20]]
    calibration = prepare_representative_dataset(make_run(GOOD, noisy), 10**6, 0)
    assert calibration.figures["near_overlap"] == 20
    assert calibration.figures["overlap"] == 0


def test_test_images_are_left_out_of_a_run_and_an_error_in_a_folder() -> None:
    run = make_run(GOOD, [*TEST, GOOD[3], GOOD[7]])
    calibration = prepare_representative_dataset(run, 10**6, 0)
    assert len(calibration.samples) == MIN_SAMPLES - 2
    assert "2 training images are in the test split too" in "\n".join(calibration.warnings)
    with pytest.raises(ExportError, match=r"2 of 100 images are test images too \(equal once resized\)"):
        prepare_representative_dataset(replace(run, model=Path("model.keras")), 10**6, 0)


def test_images_of_one_colour_are_no_copies() -> None:
    blank = [np.full((24, 24), shade, np.uint8) for shade in (255, 0)]
    run = make_run([*GOOD, *blank, blank[0]], [*TEST, *blank])
    calibration = prepare_representative_dataset(replace(run, model=Path("model.keras")), 10**6, 0)
    names = ("duplicates", "near_duplicates", "overlap", "near_overlap")
    assert [calibration.figures[name] for name in names] == [0, 0, 0, 0]
    assert "another" not in "\n".join(calibration.warnings)
    with pytest.raises(ExportError, match="3 images, 1 distinct"):
        prepare_representative_dataset(make_run([blank[0]] * 3, TEST), 10**6, 0)


def test_calibration_images_of_one_colour_each_are_many() -> None:
    flat = [np.full((24, 24), level, np.uint8) for level in range(MIN_SAMPLES)]
    assert "distinct" not in warnings(make_run(flat, TEST))
    with pytest.raises(ExportError, match=f"{MIN_SAMPLES} images, 1 distinct"):
        warnings(make_run([flat[7]] * MIN_SAMPLES, TEST))


def test_pixels_unlike_those_of_training_are_told() -> None:
    dark = [(image // 4).astype(np.uint8) for image in GOOD]
    assert "training's are 128 and 60" in warnings(make_run(dark, TEST, mean=(128.0,), std=(60.0,)))
    given = replace(make_run(dark, TEST), model=Path("model.keras"))
    assert "less than half of what there can be" in warnings(given)


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({"scaling": "standardise", "normalise": True, "weights": None}, True),
        ({"scaling": "inside", "normalise": True, "weights": None}, False),
        ({"scaling": "unit", "normalise": True, "weights": None}, False),
        ({"normalise": False}, False),
        ({"scaling": "standardise", "normalise": True, "weights": "imagenet"}, False),
    ],
)
def test_a_scaling_that_was_not_measured_says_nothing_of_the_training_pixels(
    settings: dict[str, object], is_told: bool, tmp_path: Path
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"settings": settings}))
    run = replace(make_run(GOOD, TEST, mean=(0.0,), std=(1.0,)), folder=tmp_path)
    assert ("these are other pictures" in warnings(run)) == is_told


def external(train: list[npt.NDArray[np.uint8]], test: list[npt.NDArray[np.uint8]]) -> RunFolder:
    return replace(make_run(train, test), model=Path("model.keras"))


MANY_TEST = [scene(seed) for seed in range(6000, 6040)]


def test_noise_for_calibration_is_told() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (24, 24), dtype=np.uint8) for _ in range(MIN_SAMPLES)]
    assert "neighbouring pixels differ as much as in noise" in warnings(external(noise, MANY_TEST))
    assert "noise" not in warnings(external(GOOD, MANY_TEST))
    more = [rng.integers(0, 256, (24, 24), dtype=np.uint8) for _ in range(40)]
    assert "noise" not in warnings(external(noise, more))  # there the test images are like that too


def test_calibration_images_unlike_the_test_images_are_told() -> None:
    dark = [(image // 4).astype(np.uint8) for image in GOOD]
    assert "those of the test images have" in warnings(external(dark, MANY_TEST))
    assert warnings(external(GOOD, MANY_TEST)) == ""


def test_equal_images_of_two_classes_and_copies_among_the_test_images_are_told() -> None:
    run = external(GOOD, [*MANY_TEST, MANY_TEST[0], MANY_TEST[0], MANY_TEST[3]])
    told = warnings(run)
    assert "test: 3 of 43 images are copies of another" in told
    # Targets are the index modulo 3: of the three equal images the first two differ.
    assert "3 images, 3 of them test images, are equal to one of another class: #100 (b) and #140 (c)" in told
    run = make_run([*GOOD, GOOD[0]], TEST)
    assert f"2 images, 0 of them test images, are equal to one of another class: #0 (a) and #{MIN_SAMPLES} (b)" in (
        warnings(run)
    )


def test_a_calibration_image_with_another_label_than_the_same_test_image() -> None:
    run = make_run(GOOD, [*TEST, GOOD[1]])
    told = warnings(run)
    assert "2 images, 1 of them test images, are equal to one of another class" in told
    assert "1 training images are in the test split too" in told
