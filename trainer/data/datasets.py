"""The table of data sets: by name, as a folder of images, or as a CSV file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from runtime.files import shown
from runtime.recognition import recognize, suggestion

from ..errors import DatasetError
from .dataset import Dataset, Geometry, LabelCheck
from .image_cache import CachePlace
from .loaders.embedded import load_circles, load_digits
from .loaders.fashion_mnist import load_fashion_mnist
from .loaders.features import holds_features, load_features
from .loaders.image_folder import load_image_folder
from .loaders.multilabel import load_multilabel
from .relabel import check_relabelling, choose_task, merge_classes

#: The other names are paths.
DATASET_NAMES = ("digits", "fashion-mnist", "circles")


def load_dataset(
    name: str | Path,
    geometry: Geometry | None = None,
    data_dir: Path | None = None,
    cache: CachePlace | None = None,
    check_labels: LabelCheck | None = None,
) -> Dataset:
    """A data set by name, or the folder or the CSV file of that path.

    Args:
        geometry: size, colour and resizing of the images; those of the data set by default.
        data_dir: the folder of Fashion-MNIST's files.
        cache: where decoded image files are kept; a temporary file by default.
        check_labels: called with the labels of image files before these are decoded; its errors pass through.

    Raises:
        DatasetError: the data set is missing, damaged or too small, or has no use for `data_dir` or `cache`.
    """
    name, geometry = os.fspath(name), geometry or Geometry()
    if name not in DATASET_NAMES:
        _refuse_other(name)
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
        fields = ("image_size", "colour", "resize", "filter", "orientation") if geometry.from_user else ()
        given = [field for field in fields if getattr(geometry, field) != getattr(Geometry, field)]
        given += ["cache"] if cache is not None else []
        if given:
            names = ", ".join(f"`{field}`" for field in given)
            raise DatasetError(f"{name} holds features: {names} {'are' if len(given) > 1 else 'is'} for images")
        return load_circles() if name == "circles" else load_features(Path(name))
    if is_csv:
        return load_multilabel(Path(name), geometry, cache or "temporary", check_labels)
    return load_image_folder(Path(name), geometry, cache or "temporary", check_labels)


def load_described(data: Mapping[str, Any]) -> Dataset:
    """The data set that plain values describe, as JSON holds them for another process.

    Args:
        data: `name`, and optionally `data_dir`, `image_size` as [height, width], `colour`, `resize`, `filter`,
            `orientation`, `cache`, `merge` as a list, `task` and `positive`.

    Raises:
        DatasetError: as `load_dataset`, or the labels are not as `merge`, `task` and `positive` expect.
    """
    given = {name: value for name, value in data.items() if value not in (None, [], ())}
    of_images = {name: given[name] for name in ("colour", "resize", "filter", "orientation") if name in given}
    size = (int(given["image_size"][0]), int(given["image_size"][1])) if "image_size" in given else None
    merge, positive, cache = tuple(given.get("merge", ())), given.get("positive"), given.get("cache")
    found = load_dataset(
        given["name"],
        Geometry(image_size=size, **of_images),
        Path(given["data_dir"]) if "data_dir" in given else None,
        "none" if cache == "none" else Path(cache) if cache else None,
        check_labels=partial(check_relabelling, merge=merge, positive=positive),
    )
    return choose_task(merge_classes(found, merge), given.get("task"), positive)


#: What to do with something that is no data set, by its kind.
_CURES = {
    "run": "name the data set that it was trained with",
    "archive": "unpack it, and name the folder",
    "array": "save the images as files, in one folder a class",
    "image": "put images into one folder a class, and name the folder around these",
    "text": "give it the suffix .csv if it is a table",
}


def _refuse_other(name: str) -> None:
    """Raise DatasetError where a path is no folder and no CSV file, or a folder of something else."""
    found = recognize(name)
    if found.kind == "missing":
        place = Path(name).parent
        beside = [path.name for path in place.iterdir()] if place.is_dir() else []
        known = f"{', '.join(DATASET_NAMES)}, a folder of images, or a CSV file"
        hint = suggestion(name, [*DATASET_NAMES, *(str(place / each) for each in beside)])
        raise DatasetError(f"{shown(name)}: no such folder or file, and no data set of that name ({known}){hint}")
    is_csv = name.lower().endswith(".csv") and found.kind in ("text", "other")
    if found.kind in ("folder", "models", "savedmodel") or is_csv:
        return  # their loaders say what is wrong with them
    cure = _CURES.get(found.kind, "name a folder of images, or a CSV file")
    raise DatasetError(f"{shown(name)}: {found.text}, and no data set; {cure}")
