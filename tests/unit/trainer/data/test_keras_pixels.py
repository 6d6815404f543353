"""The filters `tf-bilinear` and `tf-nearest`, and `orientation="ignore"`, beside TensorFlow and Keras's own loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from runtime import ImageInput, load_pixels
from trainer.data import Geometry, load_dataset
from trainer.data.sources import FileSource

METHODS = {"tf-bilinear": "bilinear", "tf-nearest": "nearest"}


@pytest.mark.parametrize("filter", METHODS)
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_gives_the_pixels_of_keras(filter: str, resize: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    for _ in range(12):
        height, width, rows, columns = (int(side) for side in rng.integers(2, 120, 4))
        image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
        expected = np.asarray(
            keras.ops.image.resize(
                image.astype(np.float32),
                (rows, columns),
                interpolation=METHODS[filter],
                crop_to_aspect_ratio=resize == "crop",
                pad_to_aspect_ratio=resize == "pad",
                fill_value=7.0,
            )
        )
        colour = "grey" if channels == 1 else "rgb"
        spec = ImageInput(rows, columns, colour, resize, filter, background=(7, 7, 7))
        assert np.abs(load_pixels(image, spec) - expected).max() <= (0.51 if filter == "tf-bilinear" else 0)


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """Photos on their side with fine lines, in two classes: only TensorFlow's filter keeps such lines."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(3):
            pixels = np.full((90, 130, 3), 255, np.uint8)
            pixels[rng.integers(0, 90, 30)] = rng.integers(0, 256, (30, 1, 3))
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png", exif=exif)
    return tmp_path


def from_keras(folder: Path, **options: Any) -> dict[str, Any]:
    """Each file's pixels as Keras's loader gives them."""
    loaded = keras.utils.image_dataset_from_directory(folder, shuffle=False, batch_size=None, verbose=False, **options)
    return dict(zip(loaded.file_paths, (np.asarray(pixels) for pixels, _ in loaded), strict=True))


@pytest.mark.parametrize("filter", METHODS)
def test_a_training_gets_the_pixels_of_keras_and_the_device_the_same(drawings: Path, filter: str) -> None:
    expected = from_keras(drawings, image_size=(24, 20), interpolation=METHODS[filter])
    geometry = Geometry((24, 20), "rgb", filter=filter, orientation="ignore")
    data = load_dataset(str(drawings), geometry)
    assert isinstance(data.source, FileSource)
    assert isinstance(data.input, ImageInput)
    for path, pixels in zip(data.source.paths, data.pixels, strict=True):
        assert np.abs(pixels - expected[str(drawings / path)]).max() <= 0.51
        np.testing.assert_array_equal(pixels, load_pixels(drawings / path, data.input))


def test_the_size_that_is_chosen_is_that_of_the_stored_pixels(drawings: Path) -> None:
    upright = load_dataset(str(drawings), Geometry()).pixels.shape
    stored = load_dataset(str(drawings), Geometry(orientation="ignore")).pixels.shape
    assert upright[1] > upright[2]
    assert stored[1] < stored[2]


def test_a_jpeg_differs_by_the_decoder_alone(tmp_path: Path) -> None:
    """TensorFlow decodes JPEGs by a faster transform of libjpeg, which Pillow does not offer for the full size."""
    coarse = np.random.default_rng(2).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(coarse).resize((600, 400), Image.Resampling.BICUBIC).save(path, quality=92)
    content = path.read_bytes()
    spec = ImageInput(32, 32, filter="tf-bilinear")
    exact = tf.image.resize(tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE"), (32, 32))
    assert np.abs(load_pixels(path, spec) - np.asarray(exact)).max() <= 0.51
    default = tf.image.resize(tf.io.decode_image(content, channels=3, expand_animations=False), (32, 32))
    assert np.abs(load_pixels(path, spec) - np.asarray(default)).mean() < 1.5
