"""Single samples of a data set: their label, file, split and pixels; and a few of every class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import FeaturesInput
from runtime.files import shown
from runtime.images import read_header

from ..errors import DatasetError
from .dataset import Dataset
from .sources import ArraySource, FileSource, Indices
from .splits import make_splits


def labels_of(target: Any, labels: Sequence[str]) -> list[str]:
    """The label of a class; for a row of 0 or 1, as the task multilabel has it, all its labels."""
    return [labels[place] for place in (np.flatnonzero(target) if np.ndim(target) else [int(target)])]


def label_text(target: Any, labels: Sequence[str], nothing: str = "(none)") -> str:
    """The labels of `labels_of` with commas between; `nothing` where there is none."""
    return ", ".join(labels_of(target, labels)) or nothing


def label_of(dataset: Dataset, index: int) -> str:
    """The label of a sample; for the task multilabel all of them with commas between, `(none)` where it has none."""
    return label_text(dataset.targets[index], dataset.labels)


def file_of(dataset: Dataset, index: int) -> str:
    """The printable path of an image relative to its folder; "" where it came in an array."""
    return shown(dataset.source.paths[index]) if isinstance(dataset.source, FileSource) else ""


def split_names(count: int, splits: Sequence[tuple[str, Indices]]) -> list[str]:
    """The name of the split that each of `count` samples is in, "" for none."""
    names = [""] * count
    for name, indices in splits:
        for index in indices.tolist():
            names[index] = name
    return names


def splits_or_reason(dataset: Dataset, seed: int) -> tuple[tuple[tuple[str, Indices], ...], str]:
    """The splits of a training with that seed; or none, and why there are none."""
    try:
        return make_splits(dataset.targets, dataset.labels, dataset.given, seed).items(), ""
    except DatasetError as error:  # `data show` must also describe data sets that a training would refuse
        return (), str(error)


def choose_samples(targets: npt.NDArray[Any], count: int, seed: int) -> Indices:
    """Some samples of every class in turn, seeded; sorted by class.

    Args:
        targets: (n,), or (n, labels) of the task multilabel, whose samples are drawn without regard to labels.
        count: the number of samples at most. Where there are more classes than that, some have none.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(targets))
    if targets.ndim > 1:
        return np.sort(order[:count])
    # How many of the same class stand before each in the shuffled order: the first of all classes come first.
    by_class = order[np.argsort(targets[order], kind="stable")]
    classes = targets[by_class]
    turns = np.arange(len(by_class)) - np.searchsorted(classes, classes)
    ties = rng.permutation(int(classes.max()) + 1)[classes]
    chosen: Indices = by_class[np.lexsort((ties, turns))[:count]]
    sorted_by_class: Indices = chosen[np.lexsort((chosen, targets[chosen]))]
    return sorted_by_class


def sample_in_proportion(targets: npt.NDArray[Any], count: int, seed: int) -> Indices:
    """Some samples, seeded, with as large a share of each class as all have; in ascending order.

    Args:
        targets: (n,), or (n, labels) of the task multilabel, where it is the share of each set of labels.
        count: the number of samples at most.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    keys = targets[order].reshape(len(targets), -1).T
    by_class = order[np.lexsort(keys)]
    places = np.arange(min(count, len(targets))) * len(targets) // max(1, min(count, len(targets)))
    chosen: Indices = np.sort(by_class[places])
    return chosen


def describe_sample(dataset: Dataset, index: int, seed: int) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """A description of a sample, and its pixels in the input's size, before scaling.

    Args:
        seed: the seed of the splits.

    Returns:
        (index, label, split; for an image its file where it has one, its original size, the range of its pixels;
        uint8 pixels of shape (height, width, channels), or a vector of features)

    Raises:
        ImageError: its file cannot be read any more.
    """
    pixels: npt.NDArray[Any] = dataset.pixels[np.array([index])][0]
    source, spec = dataset.source, dataset.input
    splits, reason = splits_or_reason(dataset, seed)
    absent = "none: the data set cannot be split" if reason else "none"
    split = next((name for name, indices in splits if index in indices), absent)
    description: dict[str, Any] = {"index": index, "label": label_of(dataset, index), "split": split}
    if isinstance(spec, FeaturesInput):
        return description, pixels
    if isinstance(source, FileSource):
        header = read_header(source.root / source.paths[index], spec.orientation)
        description |= {"file": file_of(dataset, index), "size": f"{header.height}x{header.width}"}
    elif isinstance(source, ArraySource):
        description["size"] = "x".join(map(str, source.images.shape[1:3]))
    description["input"] = f"{pixels.shape[0]}x{pixels.shape[1]} {spec.colour}"
    description["pixels"] = f"{pixels.min()} to {pixels.max()}, mean {pixels.mean():.1f}"
    return description, pixels
