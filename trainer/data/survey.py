"""What a data set of images holds at first sight, from its names and a sample of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime import ImageError, ImageInput, load_pixels
from runtime.files import read_regular_file
from runtime.image_limits import MAX_IMAGE_BYTES
from runtime.images import read_header
from runtime.thread_map import ordered_map

from ..errors import DatasetError
from .datasets import DATASET_NAMES
from .folder_layout import arrange
from .image_files import WORKERS
from .loaders.features import holds_features
from .loaders.label_file import read_label_file

#: Files that are examined at most, evenly spread over the training images.
_EXAMINED = 60
#: Side at which their colours are compared, and the largest difference of channels in a picture without colour: JPEG
#: stores colours coarsely.
_SIDE, _GREY = 32, 12


@dataclass(frozen=True)
class Survey:
    """The training images of a data set, at first sight.

    Attributes:
        per_class: training images a class, or a label, in the mean; those that validation will take are counted.
        height, width: median of the sample, in pixels.
        is_grey: whether no image of the sample has colour, however it is stored.
    """

    per_class: int
    height: int
    width: int
    is_grey: bool


def survey_images(name: str) -> Survey | None:
    """Look over a folder or a CSV file of images.

    Returns:
        None for other data sets, and for one that cannot be read: loading it tells why.
    """
    path = Path(name)
    try:
        if path.is_dir() and name not in DATASET_NAMES:
            files, classes = _folder_images(path)
        elif name.lower().endswith(".csv") and not holds_features(path):
            files, classes = _listed_images(path)
        else:
            return None
    except DatasetError:
        return None
    chosen = np.unique(np.linspace(0, len(files) - 1, min(len(files), _EXAMINED)).astype(int))
    looks = [look for look in ordered_map(lambda index: _look_at(files[index]), chosen, WORKERS) if look]
    if not looks:
        return None
    height, width = np.median(np.array([look[:2] for look in looks]), axis=0)
    return Survey(round(len(files) / max(1, classes)), int(height), int(width), all(look[2] for look in looks))


def _folder_images(root: Path) -> tuple[list[Path], int]:
    """The training images of a folder, and the number of classes."""
    layout = arrange(root)
    folders = [folder for folder, split in layout.class_folders() if split in ("", "train")]
    return [path for folder in folders for path in layout.images_in(folder)], len({f.name for f in folders})


def _listed_images(file: Path) -> tuple[list[Path], int]:
    rows = [row for row in read_label_file(file)[0] if row.split in ("", "train")]
    return [file.parent / row.path for row in rows], len({label for row in rows for label in row.labels})


def _look_at(path: Path) -> tuple[int, int, bool] | None:
    """Height and width of an image, and whether it has no colour; None if it cannot be read."""
    try:
        content, _ = read_regular_file(path, MAX_IMAGE_BYTES, ImageError)
        header = read_header(content)
        if header.is_grey:
            return header.height, header.width, True
        pixels = load_pixels(content, ImageInput(_SIDE, _SIDE, "rgb")).astype(np.int16)
    except ImageError:
        return None  # loading the data set tells why
    return header.height, header.width, bool(np.ptp(pixels, axis=-1).max() <= _GREY)
