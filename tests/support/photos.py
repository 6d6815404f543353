"""Colour photographs to learn from: crops of scikit-learn's two, and drawn textures, as files of many sizes.

What tells the classes apart is texture, not colour: each picture is tinted at random.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_sample_images

Pixels = npt.NDArray[np.float64]
LABELS = ("checks", "dots", "flower", "stripes", "temple")
_ORIENTATION = 274
#: What turns the stored picture back, by its EXIF orientation.
_STORED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def write_photos(root: Path, per_class: int, seed: int = 0, largest: int = 320) -> None:
    """Write a folder of JPEGs, one subfolder a class: 80 to `largest` pixels a side, some turned by EXIF alone."""
    temple, flower = load_sample_images().images
    for number, label in enumerate(LABELS):
        (root / label).mkdir(parents=True)
        for index in range(per_class):
            rng = np.random.default_rng((seed, number, index))
            height, width = (int(n) for n in rng.integers(80, largest, 2))
            source = {"temple": temple, "flower": flower}.get(label)
            pixels = _drawn(label, height, width, rng) if source is None else _crop(source, height, width, rng)
            _save(root / label / f"{index}.jpg", _tinted(pixels, rng), rng)


def _crop(photo: npt.NDArray[np.uint8], height: int, width: int, rng: np.random.Generator) -> Pixels:
    """A part of a photograph, a third to all of its height, at the size asked for."""
    rows = int(rng.integers(photo.shape[0] // 3, photo.shape[0]))
    columns = min(photo.shape[1], round(rows * width / height))
    top, left = (int(rng.integers(0, n)) for n in (photo.shape[0] - rows + 1, photo.shape[1] - columns + 1))
    part = Image.fromarray(photo[top : top + rows, left : left + columns])
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(part.resize((width, height), Image.Resampling.LANCZOS), np.float64)


def _drawn(label: str, height: int, width: int, rng: np.random.Generator) -> Pixels:
    """A pattern at a random angle and scale, in two colours, under a soft light."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(12, 40)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    along = (columns * np.cos(angle) + rows * np.sin(angle)) / period
    across = (rows * np.cos(angle) - columns * np.sin(angle)) / period
    if label == "stripes":
        shape = along % 1 < 0.5
    elif label == "checks":
        shape = (along % 1 < 0.5) ^ (across % 1 < 0.5)
    else:
        shape = (along % 1 - 0.5) ** 2 + (across % 1 - 0.5) ** 2 < 0.12
    one, two = rng.uniform(0, 255, (2, 3))
    light = 1 + 0.3 * np.sin(rows / height * rng.uniform(1, 3) + columns / width * rng.uniform(1, 3))
    pixels: Pixels = np.where(shape[..., np.newaxis], one, two) * light[..., np.newaxis]
    return pixels


def _tinted(pixels: Pixels, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Other light and another camera: each channel's own gain, and noise."""
    noisy = pixels * rng.uniform(0.6, 1.4, 3) + rng.normal(0, 8, pixels.shape)
    tinted: npt.NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return tinted


def _save(path: Path, pixels: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    orientation = int(rng.choice(list(_STORED)))
    image = Image.fromarray(pixels)
    turn = _STORED[orientation]
    if turn is not None:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    image.save(path, quality=int(rng.integers(60, 96)), exif=exif)
