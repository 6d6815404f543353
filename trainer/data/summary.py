"""The summary of a data set that `pocketlens data show` prints."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import FeaturesInput
from runtime.files import shown
from runtime.images import read_header
from runtime.input_spec import EXIF
from runtime.progress import progress

from .dataset import Dataset
from .duplicates import Fingerprints, NearPair
from .normalization import count_pixel_values, mean_and_deviation
from .samples import file_of, label_of, split_names, splits_or_reason
from .sources import ArraySource, FileSource, VectorSource
from .splits import count_labels

#: Bytes of pixels that are counted at once; counting takes eight times as much memory.
_PART_BYTES = 2**22


@dataclass(frozen=True)
class ValueRange:
    """The values of all pixels before scaling (0 to 255), one number a channel; or of all vectors, one a feature."""

    least: tuple[float, ...]
    greatest: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class DatasetSummary:
    """The summary of a data set.

    Attributes:
        dataset: the data set.
        splits: the split of each sample in a training with the seed; "" if the data set cannot be split.
        refusal: why the data set cannot be split, or "".
        counts: split (and "all") to the number of samples of each label, in the order of the labels.
        sizes: (height, width, count) of the original images, the most frequent first; empty for vectors.
        grey: the number of images without colour.
        values: the range of the pixels at the size of the input, or of the features.
        copies: groups of indices of images with equal pixels at that size.
        near: pairs of images that are nearly the same.
        near_complete: whether `near` has all such pairs.
    """

    dataset: Dataset
    splits: list[str]
    refusal: str
    counts: dict[str, list[int]]
    sizes: list[tuple[int, int, int]]
    grey: int
    values: ValueRange
    copies: list[list[int]]
    near: list[NearPair]
    near_complete: bool

    @property
    def copied_files(self) -> int:
        """The number of files left out because another has the same bytes, or because they are listed twice."""
        return self.dataset.copied

    def is_across_splits(self, indices: list[int]) -> bool:
        """Whether these samples are in more than one split."""
        return len({self.splits[index] for index in indices}) > 1

    def differs_in_label(self, indices: list[int]) -> bool:
        """Whether these samples have different labels."""
        return len({label_of(self.dataset, index) for index in indices}) > 1

    def item(self, index: int) -> dict[str, Any]:
        """One sample, for JSON: index, label, split, and its file where it has one."""
        data = self.dataset
        found = {"index": index, "label": label_of(data, index), "split": self.splits[index] or None}
        return found | ({"file": file_of(data, index)} if isinstance(data.source, FileSource) else {})

    def as_dict(self) -> dict[str, Any]:
        """The summary for JSON."""
        data = self.dataset
        return {
            "dataset": data.name,
            "task": data.task,
            "images": len(data.targets),
            "labels": list(data.labels),
            "counts": {name: dict(zip(data.labels, found, strict=True)) for name, found in self.counts.items()},
            "splits_refused": self.refusal or None,
            **self._of_kind(),
            "copies": [
                {"across_splits": self.is_across_splits(group), "images": [self.item(i) for i in group]}
                for group in self.copies
            ],
            "near_copies": [
                {
                    "across_splits": self.is_across_splits([pair.first, pair.second]),
                    "difference": pair.difference,
                    "images": [self.item(pair.first), self.item(pair.second)],
                }
                for pair in self.near
            ],
            "near_copies_complete": self.near_complete,
            "left_out": [shown(line) for line in data.left_out],
            "notes": [shown(line) for line in data.remarks],
        }

    def _of_kind(self) -> dict[str, Any]:
        spec, values = self.dataset.input, self.values
        names = {"min": values.least, "max": values.greatest, "mean": values.mean, "std": values.std}
        if isinstance(spec, FeaturesInput):
            return {"features": list(spec.names), "values": {name: list(found) for name, found in names.items()}}
        return {
            "input": {"height": spec.height, "width": spec.width, "colour": spec.colour},
            "sizes": [{"height": h, "width": w, "images": n} for h, w, n in self.sizes],
            "grey": self.grey,
            "colour": len(self.dataset.targets) - self.grey,
            "pixels": {name: list(found) for name, found in names.items()},
        }


def summarize(dataset: Dataset, seed: int) -> DatasetSummary:
    """Read every sample once and summarize the data set.

    Args:
        seed: the seed of the splits.

    Raises:
        ImageError: a file could be read when the data set was loaded, and cannot be read any more.
    """
    splits, refusal = splits_or_reason(dataset, seed)
    fingerprints = Fingerprints()
    values = _scan(dataset, fingerprints)
    sizes, grey = _headers(dataset)
    names = split_names(len(dataset.targets), splits)
    everything = np.arange(len(dataset.targets))
    labels = len(dataset.labels)
    counts = {
        name: count_labels(dataset.targets, indices, labels).tolist()
        for name, indices in (*splits, ("all", everything))
    }
    near, complete = fingerprints.near_pairs(lambda index: dataset.pixels[np.array([index])][0])
    return DatasetSummary(dataset, names, refusal, counts, sizes, grey, values, fingerprints.copies(), near, complete)


def _scan(dataset: Dataset, fingerprints: Fingerprints) -> ValueRange:
    """The range of each channel or feature; adds the fingerprint of each sample."""
    if isinstance(dataset.source, VectorSource):
        vectors = dataset.pixels[np.arange(len(dataset.targets))]
        fingerprints.add(vectors)
        return _rounded(vectors.min(axis=0), vectors.max(axis=0), vectors.mean(axis=0), vectors.std(axis=0))
    counts = np.zeros((dataset.pixels.shape[-1], 256), np.int64)
    with progress(len(dataset.targets), "looking at images") as bar:
        for part in _parts(dataset):
            counts += count_pixel_values(part)
            fingerprints.add(part)
            bar.update(len(part))
    mean, std = mean_and_deviation(counts)
    return _rounded((counts > 0).argmax(axis=1), 255 - (counts[:, ::-1] > 0).argmax(axis=1), mean, std)


def _rounded(*found: npt.NDArray[Any]) -> ValueRange:
    """Minimum, maximum, mean and standard deviation, rounded to six digits."""
    return ValueRange(*(tuple(float(f"{value:.6g}") for value in values) for values in found))


def _parts(dataset: Dataset) -> Iterator[npt.NDArray[Any]]:
    """All images, in parts of moderate size."""
    count, size = len(dataset.targets), math.prod(dataset.pixels.shape[1:])
    at_once = max(1, _PART_BYTES // size)
    for start in range(0, count, at_once):
        yield dataset.pixels[np.arange(start, min(start + at_once, count))]


def _headers(dataset: Dataset) -> tuple[list[tuple[int, int, int]], int]:
    """(height, width, count) of all sizes, and the number of grey images."""
    source = dataset.source
    if isinstance(source, ArraySource):
        count, height, width = source.images.shape[:3]
        return [(height, width, count)], count if source.images.ndim == 3 else 0
    if not isinstance(source, FileSource):
        return [], 0
    orientation = dataset.input.orientation if dataset.input.kind == "image" else EXIF
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        headers = list(pool.map(lambda path: read_header(source.root / path, orientation), source.paths))
    sizes = Counter((header.height, header.width) for header in headers)
    ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    return [(height, width, n) for (height, width), n in ordered], sum(header.is_grey for header in headers)
