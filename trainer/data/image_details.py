"""One picture of a data set, looked at closely."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import FeaturesInput
from runtime.images import read_header

from ..errors import DatasetError
from . import Dataset
from .items import file_of, label_of
from .sources import ArraySource, FileSource
from .splits import make_splits


def look_at(dataset: Dataset, index: int, seed: int) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """What is known of a picture, and its pixels as the network will get them before scaling.

    Args:
        seed: of the splits.

    Returns:
        (index, label, split; of a picture its file where it has one, size as it was, range of the pixels; uint8 pixels
        of shape (height, width, channels), or a vector of features)

    Raises:
        ImageError: its file cannot be read any more.
    """
    pixels: npt.NDArray[Any] = dataset.pixels[np.array([index])][0]
    source, spec = dataset.source, dataset.input
    seen: dict[str, Any] = {"index": index, "label": label_of(dataset, index), "split": _split(dataset, index, seed)}
    if isinstance(spec, FeaturesInput):
        return seen, pixels
    if isinstance(source, FileSource):
        header = read_header(source.root / source.paths[index])
        seen |= {"file": file_of(dataset, index), "size": f"{header.height}x{header.width}"}
    elif isinstance(source, ArraySource):
        seen["size"] = "x".join(map(str, source.images.shape[1:3]))
    seen["input"] = f"{pixels.shape[0]}x{pixels.shape[1]} {spec.colour}"
    seen["pixels"] = f"{pixels.min()} to {pixels.max()}, mean {pixels.mean():.1f}"
    return seen, pixels


def _split(dataset: Dataset, index: int, seed: int) -> str:
    try:
        splits = make_splits(dataset.targets, dataset.labels, dataset.given, seed)
    except DatasetError:
        return "none: the data set cannot be split"
    return next((name for name, indices in splits.items() if index in indices), "none")
