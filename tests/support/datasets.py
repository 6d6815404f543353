"""Little data sets that tests draw: discs in three colours, and marks of which an image shows none, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from trainer.data import Dataset


def images_of(data: Dataset) -> npt.NDArray[np.uint8]:
    """The images of a data set that holds them in one array."""
    from trainer.data.sources import ArraySource

    assert isinstance(data.source, ArraySource)
    return data.source.images


#: Colour of each class of the little colour data set.
SHADES = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def draw_colour_image(label: str, seed: int) -> Image.Image:
    """A picture of random size with a disc of the class's colour on noise."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(20, 60, 2))
    pixels = rng.integers(90, 160, (height, width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 2.5) ** 2
    pixels[disc] = np.clip(np.array(SHADES[label]) + rng.integers(-25, 25, 3), 0, 255)
    return Image.fromarray(pixels)


def fill_class(folder: Path, label: str, seeds: Sequence[int]) -> None:
    """Write one class: JPEG, PNG and WebP in turn."""
    folder.mkdir(parents=True)
    for seed in seeds:
        suffix = (".jpg", ".png", ".webp")[seed % 3]
        draw_colour_image(label, seed + 1000 * list(SHADES).index(label)).save(folder / f"{seed}{suffix}")


#: What the pictures of the little multilabel data set may show, and where: rows and columns of 12.
MARKS = {"bar": np.s_[:, 2:4], "dot": np.s_[8:11, 8:11], "line": np.s_[4:6, :]}


def draw_marks(labels: Sequence[str], seed: int) -> Image.Image:
    """A grey picture of 12x12 with a bright mark for each label, on noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (12, 12), dtype=np.uint8)
    for label in labels:
        pixels[MARKS[label]] = rng.integers(150, 255, dtype=np.uint8)
    return Image.fromarray(pixels)


def write_marks(folder: Path, count: int = 300) -> Path:
    """Pictures of each mark or none or several, and the CSV file that names them."""
    rng = np.random.default_rng(5)
    (folder / "pictures").mkdir(parents=True)
    lines = ["path,labels"]
    for seed in range(count):
        labels = [label for label, chance in zip(MARKS, (0.5, 0.2, 0.35), strict=True) if rng.random() < chance]
        draw_marks(labels, seed).save(folder / f"pictures/{seed}.png")
        lines.append(f"pictures/{seed}.png,{';'.join(labels)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"
