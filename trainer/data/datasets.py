"""The table of data sets: by name, as a folder of images, or as a CSV file."""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from .dataset import Dataset, Geometry
from .image_cache import CachePlace
from .loaders.embedded import load_circles, load_digits
from .loaders.fashion_mnist import load_fashion_mnist
from .loaders.features import holds_features, load_features
from .loaders.image_folder import load_image_folder
from .loaders.multilabel import load_multilabel

#: The other names are paths.
DATASET_NAMES = ("digits", "fashion-mnist", "circles")


def load_dataset(
    name: str, geometry: Geometry | None = None, data_dir: Path | None = None, cache: CachePlace | None = None
) -> Dataset:
    """A data set by name, or the folder or the CSV file of that path.

    Args:
        geometry: size, colour and resizing of the images; those of the data set by default.
        data_dir: the folder of Fashion-MNIST's files.
        cache: where decoded image files are kept; a temporary file by default.

    Raises:
        DatasetError: the data set is missing, damaged or too small, or has no use for `data_dir` or `cache`.
    """
    geometry = geometry or Geometry()
    if name in DATASET_NAMES and cache is not None:
        raise DatasetError(f"`cache` is for image files; {name} has none")
    if name == "fashion-mnist":
        return load_fashion_mnist(geometry, data_dir)
    if data_dir is not None:
        raise DatasetError(f"`data_dir` is for fashion-mnist; {name} does not read it")
    if name == "digits":
        return load_digits(geometry)
    is_csv = name.lower().endswith(".csv") and not Path(name).is_dir()
    if name == "circles" or (is_csv and holds_features(Path(name))):
        if (geometry.from_user and geometry != Geometry()) or cache is not None:
            names = "`image_size`, `colour`, `resize`, `filter`, `orientation` and `cache`"
            raise DatasetError(f"{name} holds features: {names} are for images")
        return load_circles() if name == "circles" else load_features(Path(name))
    if is_csv:
        return load_multilabel(Path(name), geometry, cache or "temporary")
    return load_image_folder(Path(name), geometry, cache or "temporary")
