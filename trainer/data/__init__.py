"""Data sets by name, or a folder of images: each gives the same `Dataset` value."""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from .dataset import Dataset, Geometry
from .image_cache import CachePlace
from .loaders import digits, fashion_mnist, multilabel
from .loaders import features as readings
from .loaders import image_folder as folder

__all__ = ["NAMES", "Dataset", "Geometry", "load_dataset"]

NAMES = ("digits", "fashion-mnist", "circles")
_NO_CACHE = "--cache is for image files; {} has none"


def load_dataset(
    name: str, geometry: Geometry, data_dir: Path | None = None, cache: CachePlace | None = None
) -> Dataset:
    """A data set by name, or the folder or the CSV file of that path.

    Args:
        data_dir: where Fashion-MNIST's files lie.
        cache: of image files: where they are kept decoded; a temporary file without it.

    Raises:
        DatasetError: it is missing, damaged or too small, or `data_dir` or `cache` is given for a data set
            that has no use for it.
    """
    if name in NAMES and cache is not None:
        raise DatasetError(_NO_CACHE.format(name))
    if name == "fashion-mnist":
        return fashion_mnist.load(geometry, data_dir)
    if data_dir is not None:
        raise DatasetError(f"--data-dir is for fashion-mnist; {name} does not read it")
    if name == "digits":
        return digits.load(geometry)
    is_csv = name.lower().endswith(".csv") and not Path(name).is_dir()
    if name == "circles" or (is_csv and readings.holds_readings(Path(name))):
        if (geometry.asked and geometry != Geometry()) or cache is not None:
            raise DatasetError(f"{name} holds features: --image-size, --colour, --resize and --cache are for images")
        return readings.load_circles() if name == "circles" else readings.load(Path(name))
    if is_csv:
        return multilabel.load(Path(name), geometry, cache or "temporary")
    return folder.load(Path(name), geometry, cache or "temporary")
