"""`--merge`: classes that are one in truth, as a confusion matrix may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import DatasetError
from . import Dataset


def merge_classes(dataset: Dataset, merges: Sequence[str]) -> Dataset:
    """The data set with some of its classes joined.

    A joined class stands where the first of its members stood; the others keep their order.

    Args:
        merges: each as `"T-shirt/top,Shirt=Top"`: the members, and the name of what they become.

    Raises:
        DatasetError: not of that form, a class that there is not or that two merges claim, a name that another class
            or merge has, or a single class left.
    """
    if not merges:
        return dataset
    names = list(dataset.labels)
    claimed: set[str] = set()
    made: set[str] = set()
    for merge in merges:
        members, name = _read(merge, dataset.labels)
        if name in made:
            raise DatasetError(f"--merge {merge!r}: {name!r} is made by another --merge; name all its members in one")
        made.add(name)
        for member in members:
            if member in claimed:
                raise DatasetError(f"--merge {merge!r}: {member!r} is named twice")
            claimed.add(member)
            names[dataset.labels.index(member)] = name
    _check_names(dataset.labels, names, claimed)
    labels = tuple(dict.fromkeys(names))
    if len(labels) < 2:
        raise DatasetError(f"--merge: {labels[0]!r} is the only class left; expected at least two")
    joined = np.array([labels.index(name) for name in names], np.int32)
    if dataset.task == "multilabel":  # an image with any of the members
        columns = [dataset.targets[:, joined == index].max(axis=1) for index in range(len(labels))]
        targets = np.stack(columns, axis=1)
    else:
        targets = joined[dataset.targets]
    return replace(dataset, labels=labels, targets=targets, merged=tuple(merges))


def _read(merge: str, labels: tuple[str, ...]) -> tuple[list[str], str]:
    left, _, name = (part.strip() for part in merge.rpartition("="))
    members = [member.strip() for member in left.split(",")]
    if not name or len(members) < 2 or not all(members):
        raise DatasetError(f"--merge {merge!r}: expected two or more classes and a name, as in cat,dog=pet")
    for member in members:
        if member not in labels:
            raise DatasetError(f"--merge {merge!r}: no class {member!r}; there are {', '.join(labels)}")
    return members, name


def _check_names(labels: tuple[str, ...], names: list[str], claimed: set[str]) -> None:
    for label in labels:
        if label not in claimed and names.count(label) > 1:
            raise DatasetError(f"--merge: the name {label!r} is that of a class which is not merged; name it as well")
