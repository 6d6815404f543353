"""Data sets by name, or a folder of images: each gives the same `Dataset` value."""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from . import digits, fashion_mnist, folder, readings
from .dataset import Dataset, Geometry

__all__ = ["NAMES", "Dataset", "Geometry", "load_dataset"]

NAMES = ("digits", "fashion-mnist", "circles")


def load_dataset(name: str, geometry: Geometry, data_dir: Path | None = None) -> Dataset:
    """A data set by name, or the folder of that path.

    Args:
        data_dir: where Fashion-MNIST's files lie.

    Raises:
        DatasetError: it is missing, damaged or too small, or `data_dir` is given for another data set.
    """
    if name == "fashion-mnist":
        return fashion_mnist.load(geometry, data_dir)
    if data_dir is not None:
        raise DatasetError(f"--data-dir is for fashion-mnist; {name} does not read it")
    if name == "digits":
        return digits.load(geometry)
    if name == "circles":
        return readings.load_circles()
    if name.lower().endswith(".csv") and not Path(name).is_dir() and readings.holds_readings(Path(name)):
        return readings.load(Path(name))
    return folder.load(Path(name), geometry)
