from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from exporter.errors import ExportError
from exporter.representative_dataset import choose_representatives, converter_samples, span_pixels
from exporter.representative_dataset_checks import fingerprint_images
from runtime import Contract, ImageInput
from trainer.data.run_folder import RunFolder, read_run
from trainer.data.sources import ArraySource


@pytest.fixture(scope="module")
def run(digits_run: Path) -> RunFolder:
    return read_run(digits_run)


def test_images_come_from_training_and_the_classes_are_even(run: RunFolder) -> None:
    chosen = choose_representatives(run, 95, seed=0)
    assert len(set(chosen.tolist())) == 95
    assert set(chosen) <= set(run.splits["train"])
    assert sorted(np.bincount(run.targets[chosen]).tolist()) == [9] * 5 + [10] * 5


def test_the_seed_decides(run: RunFolder) -> None:
    assert choose_representatives(run, 50, 1).tolist() == choose_representatives(run, 50, 1).tolist()
    assert choose_representatives(run, 50, 1).tolist() != choose_representatives(run, 50, 2).tolist()


def test_all_are_taken_where_there_are_fewer(run: RunFolder) -> None:
    chosen = choose_representatives(run, 10**6, 0)
    assert sorted(chosen) == sorted(run.splits["train"])


def test_no_training_images_is_an_error(run: RunFolder) -> None:
    empty = replace(run, splits={**run.splits, "train": np.array([], np.int64)})
    with pytest.raises(ExportError, match="empty"):
        choose_representatives(empty, 5, 0)


def pale_run(least: int, greatest: int) -> RunFolder:
    images = np.full((4, 6, 6), 128, np.uint8)
    images[:, 0, 0], images[:, 5, 5] = least, greatest
    contract = Contract(("a", "b"), ImageInput(6, 6, "grey", mean=(100.0,), std=(40.0,)))
    splits = {"train": np.arange(4), "validation": np.array([], int), "test": np.array([], int)}
    return RunFolder(Path(), contract, ArraySource(images), np.array([0, 0, 1, 1]), splits)


def decoded(run: RunFolder) -> npt.NDArray[np.uint8]:
    return fingerprint_images(run.source, np.arange(len(run.source)), run.contract.image_input)[1]


@pytest.mark.parametrize(("least", "greatest", "altered"), [(0, 255, 0), (3, 255, 1), (0, 250, 1), (20, 220, 2)])
def test_pixels_span_the_whole_range_with_as_little_change_as_that_takes(
    least: int, greatest: int, altered: int
) -> None:
    run = pale_run(least, greatest)
    pixels = span_pixels(decoded(run))
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (pixels[..., 0] != np.stack([run.source.sample(i) for i in range(4)])).sum() == altered


def test_the_converter_sees_scaled_pixels_one_by_one() -> None:
    run = pale_run(0, 255)
    samples = list(converter_samples(span_pixels(decoded(run)), run.contract.input))
    assert [sample[0].shape for sample in samples] == [(1, 6, 6, 1)] * 4
    assert samples[0][0].dtype == np.float32
    assert samples[0][0].min() == pytest.approx((0 - 100) / 40)
    assert samples[0][0].max() == pytest.approx((255 - 100) / 40)
