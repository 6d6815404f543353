"""Batches: what is in them, in which order, who makes them, and what happens when a picture is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from runtime import ImageInput, Preprocessor, load_pixels
from tests.support.datasets import draw_colour_image
from trainer.config import AUGMENTATIONS
from trainer.data import Geometry, load_dataset
from trainer.data import dataset as dataset_module
from trainer.data.dataset import PixelStore, ResizedPixels, array_pixels
from trainer.data.normalization import measure_scaling
from trainer.data.sources import FileSource
from trainer.errors import DatasetError
from trainer.fitting import input_pipeline as pipeline_module
from trainer.fitting.input_pipeline import Passes, Pipeline

SPEC = ImageInput(12, 10, "rgb", mean=(100.0,) * 3, std=(50.0,) * 3)
COUNT, BATCH = 70, 8


def pictures(count: int = COUNT, seed: int = 0) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SPEC.shape), np.uint8)


def make(pixels: PixelStore) -> Pipeline:
    return Pipeline(pixels, np.arange(len(pixels), dtype=np.int32), Preprocessor(SPEC), BATCH)


def passes_of(pixels: PixelStore, augmentation: tuple[str, ...] = AUGMENTATIONS, seed: int = 5) -> Passes:
    weights = np.linspace(1, 2, len(pixels), dtype=np.float32)
    return make(pixels).passes(np.arange(len(pixels)), seed, augmentation, weights)


def collected(batches: Any) -> list[npt.NDArray[Any]]:
    """Each part of the batches, end to end."""
    parts = [[np.asarray(part) for part in batch] for batch in batches]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def test_batches_come_in_the_order_of_the_indices() -> None:
    pixels = pictures()
    chosen = np.random.default_rng(1).permutation(COUNT)[:43]
    batches = make(pixels).batches(chosen)
    assert [len(batch[0]) for batch in batches] == [8, 8, 8, 8, 8, 3]
    assert len(batches) == 6
    found, targets = collected(batches)
    np.testing.assert_array_equal(targets, chosen)
    np.testing.assert_array_equal(found, Preprocessor(SPEC).scale(pixels[chosen]))


def test_a_pass_has_each_picture_once_with_its_target_and_weight() -> None:
    pixels = pictures()
    found, targets, weights = collected(passes_of(pixels, ()).batches)
    assert sorted(targets.tolist()) == list(range(COUNT))
    assert targets.tolist() != list(range(COUNT))
    np.testing.assert_array_equal(found, Preprocessor(SPEC).scale(pixels[targets]))
    np.testing.assert_array_equal(weights, np.linspace(1, 2, COUNT, dtype=np.float32)[targets])


def test_a_pass_follows_from_seed_and_epoch_whatever_the_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = pictures()
    found = {}
    for workers in (1, 2, 7):
        monkeypatch.setattr(pipeline_module, "WORKERS", workers)
        passes = passes_of(_Uneven(pixels))
        for epoch in (0, 3):
            passes.epoch = epoch
            found[workers, epoch] = collected(passes.batches)
    for workers in (2, 7):
        for epoch in (0, 3):
            for one, other in zip(found[1, epoch], found[workers, epoch], strict=True):
                np.testing.assert_array_equal(one, other)
    assert found[1, 0][1].tolist() != found[1, 3][1].tolist()
    other_seed = collected(passes_of(pixels, seed=6).batches)
    assert other_seed[1].tolist() != found[1, 0][1].tolist()


class _Watched:
    """An array that notes who reads it."""

    def __init__(self, pixels: npt.NDArray[Any]) -> None:
        self._pixels, self.reads = pixels, 0
        self.shape, self.dtype = pixels.shape, pixels.dtype

    def __len__(self) -> int:
        return len(self._pixels)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pixels)

    def __getitem__(self, key: Any, /) -> Any:
        self.reads += 1
        return self._pixels[key]


class _Uneven(_Watched):
    """Every other batch takes longer."""

    def __getitem__(self, key: Any, /) -> Any:
        time.sleep(0.005 * (int(key[0]) % 3))
        return super().__getitem__(key)


class _Together(_Watched):
    """A batch is given only when another is read at the same time."""

    def __init__(self, pixels: npt.NDArray[Any]) -> None:
        super().__init__(pixels)
        self._meeting = threading.Barrier(2, timeout=60)

    def __getitem__(self, key: Any, /) -> Any:
        self._meeting.wait()
        return super().__getitem__(key)


def test_batches_are_made_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()  # as training does; it makes some things sequential
    monkeypatch.setattr(pipeline_module, "WORKERS", 2)
    found = collected(passes_of(_Together(pictures(8 * BATCH)), ()).batches)
    assert sorted(found[1].tolist()) == list(range(8 * BATCH))


def test_only_a_few_batches_are_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "WORKERS", 2)
    watched = _Watched(pictures(50 * BATCH))
    batches = iter(passes_of(watched).batches)
    next(batches)
    time.sleep(1)
    assert watched.reads <= 8
    del batches


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("blue", "red"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for seed in range(20):
            draw_colour_image(label, seed).save(tmp_path / "photos" / label / f"{seed}.png")
    return tmp_path / "photos"


GEOMETRY = Geometry((SPEC.height, SPEC.width), "rgb")


@pytest.mark.parametrize("what", ["gone", "cut off", "another", "a pipe"])
def test_a_picture_that_can_no_longer_be_read_is_named(what: str, folder: Path) -> None:
    data = load_dataset(str(folder), GEOMETRY, cache="none")
    path = folder / "red" / "7.png"
    content = path.read_bytes()
    path.unlink()
    if what == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif what == "another":
        path.write_bytes((folder / "red" / "8.png").read_bytes())
    elif what == "a pipe":
        import os

        os.mkfifo(path)
    pipeline = make(data.pixels)
    with pytest.raises(DatasetError, match=r"red/7\.png: .*put it back"), pipeline.dataset_errors():
        collected(pipeline.batches(np.arange(40)))
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    with pipeline.dataset_errors():
        found, _ = collected(pipeline.batches(np.arange(40)))
    assert isinstance(data.source, FileSource)
    for pixels, name in zip(found, data.source.paths, strict=True):
        np.testing.assert_array_equal(pixels, Preprocessor(SPEC).scale(load_pixels(folder / name, SPEC)))


def test_other_errors_stay_what_they_are() -> None:
    import tensorflow as tf

    pipeline = make(pictures())
    with pytest.raises(tf.errors.OpError, match="out of bounds"), pipeline.dataset_errors():
        collected(pipeline.batches(np.arange(COUNT + 5)))


def test_a_cached_picture_may_go(folder: Path) -> None:
    data = load_dataset(str(folder), GEOMETRY)
    expected = data.pixels[:]
    for path in folder.rglob("*.png"):
        path.unlink()
    np.testing.assert_array_equal(data.pixels[:], expected)


def test_pixels_are_indexed_as_arrays_are(folder: Path) -> None:
    pixels = load_dataset(str(folder), GEOMETRY).pixels
    whole = pixels[:]
    assert pixels.shape == whole.shape == (40, 12, 10, 3)
    assert pixels.dtype == whole.dtype
    assert len(pixels) == 40
    np.testing.assert_array_equal(pixels[3], whole[3])
    np.testing.assert_array_equal(pixels[-1], whole[-1])
    for key in (slice(2, 30, 5), [3, 3, 0], np.array([39, -2]), np.arange(40) % 7 == 0, np.array([], np.int64)):
        np.testing.assert_array_equal(pixels[key], whole[key])
    np.testing.assert_array_equal(np.stack(list(pixels)), whole)
    with pytest.raises(IndexError):
        pixels[40]


def test_scaling_is_mean_and_deviation_of_the_training_pixels() -> None:
    pixels = pictures(300) // 2
    indices = np.arange(10, 200)
    spec = measure_scaling(ImageInput(*SPEC.shape[:2]), pixels, indices)
    assert spec.mean == (float(round(pixels[indices].mean())),) * 3
    assert spec.std == (pytest.approx(round(pixels[indices].std(), 2)),) * 3


def test_scaling_of_many_large_pictures_looks_at_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.normalization._MAX_BYTES", 20 * 360)
    monkeypatch.setattr("trainer.data.normalization._PART_BYTES", 3 * 360)
    pixels = pictures(200)
    spec = measure_scaling(ImageInput(*SPEC.shape[:2]), pixels, np.arange(200))
    assert spec.mean[0] == round(pixels[::10].mean())
    assert spec.std[0] == pytest.approx(round(pixels[::10].std(), 2))


def test_scaling_of_one_flat_picture() -> None:
    spec = measure_scaling(SPEC, np.full((1, *SPEC.shape), 9, np.uint8), np.arange(1))
    assert (spec.mean[0], spec.std[0]) == (9.0, 1.0)


def test_a_large_array_is_resized_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 14, 14), np.uint8)
    ahead = array_pixels(images, SPEC)
    assert isinstance(ahead, np.ndarray)
    monkeypatch.setattr(dataset_module, "_MAX_RESIZED_BYTES", 1000)
    later = array_pixels(images, SPEC)
    assert isinstance(later, ResizedPixels)
    np.testing.assert_array_equal(later[:], ahead)
    own = array_pixels(images, ImageInput(14, 14, "grey"))
    assert isinstance(own, np.ndarray)
