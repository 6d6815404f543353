"""One picture of a data set: what it is called, where it lies, and in which split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from runtime.files import shown

from . import Dataset
from .sources import FileSource, Indices


def label_of(dataset: Dataset, index: int) -> str:
    """The label of a picture; of the task multilabel all of them with commas between, `(none)` where it has none."""
    target = dataset.targets[index]
    if np.ndim(target) == 0:
        return dataset.labels[int(target)]
    return ", ".join(dataset.labels[place] for place in np.flatnonzero(target)) or "(none)"


def file_of(dataset: Dataset, index: int) -> str:
    """The path of a picture relative to its folder, as it can be printed; "" where it came in an array."""
    return shown(dataset.source.paths[index]) if isinstance(dataset.source, FileSource) else ""


def split_names(count: int, splits: Sequence[tuple[str, Indices]]) -> list[str]:
    """For each of `count` pictures the split it is in, "" for none."""
    names = [""] * count
    for name, indices in splits:
        for index in indices.tolist():
            names[index] = name
    return names


def chosen_samples(targets: npt.NDArray[np.int32], count: int, seed: int) -> Indices:
    """Some pictures of every class in turn, seeded; sorted by class.

    Args:
        targets: (n,), or (n, labels) of the task multilabel, whose pictures are drawn without regard to labels.
        count: how many at most. Where there are more classes than that, some have none.
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
