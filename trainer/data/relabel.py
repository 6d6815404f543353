"""Other targets for the same images: classes that are merged, and the question that a model answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from runtime.recognition import suggestion

from ..errors import DatasetError
from .dataset import Dataset


def merge_classes(dataset: Dataset, merge: Sequence[str]) -> Dataset:
    """The data set with some of its classes joined, such as those that a confusion matrix shows to be one.

    A joined class stands where the first of its members stood; the others keep their order.

    Args:
        merge: each as `"T-shirt/top,Shirt=Top"`: the members, and the name of what they become.

    Raises:
        DatasetError: a merge has another form, names a class that does not exist or that another merge names, or a
            name that another class or merge has; or a single class would remain.
    """
    if not merge:
        return dataset
    names = _merged_names(dataset.labels, merge)
    labels = tuple(dict.fromkeys(names))
    places = np.array([labels.index(name) for name in names], np.int32)
    if dataset.task == "multilabel":  # an image with any of the members
        columns = [dataset.targets[:, places == index].max(axis=1) for index in range(len(labels))]
        targets = np.stack(columns, axis=1)
    else:
        targets = places[dataset.targets]
    return replace(dataset, labels=labels, targets=targets, merged=tuple(merge))


def check_relabelling(labels: Sequence[str], merge: Sequence[str], positive: str | None) -> None:
    """Check what `merge_classes` and `choose_task` check by the labels alone, before images are decoded.

    Raises:
        DatasetError: as these do.
    """
    names = _merged_names(labels, merge) if merge else list(labels)
    if positive is not None:
        _check_positive(positive, tuple(dict.fromkeys(names)))


def _merged_names(old: Sequence[str], merge: Sequence[str]) -> list[str]:
    """The new name of each label; raises DatasetError as `merge_classes` does."""
    names = list(old)
    claimed: set[str] = set()
    merged_names: set[str] = set()
    for text in merge:
        members, name = _parse_merge(text, old)
        if name in merged_names:
            raise DatasetError(f"`merge` {text!r}: {name!r} is made by another `merge`; name all its members in one")
        merged_names.add(name)
        for member in members:
            if member in claimed:
                raise DatasetError(f"`merge` {text!r}: {member!r} is named twice")
            claimed.add(member)
            names[old.index(member)] = name
    _check_names(old, names, claimed)
    labels = tuple(dict.fromkeys(names))
    if len(labels) < 2:
        raise DatasetError(f"`merge`: {labels[0]!r} is the only class left; expected at least two")
    return names


def _parse_merge(text: str, labels: Sequence[str]) -> tuple[list[str], str]:
    before, _, name = (part.strip() for part in text.rpartition("="))
    members = [member.strip() for member in before.split(",")]
    if not name or len(members) < 2 or not all(members):
        raise DatasetError(f"`merge` {text!r}: expected two or more classes and a name, as in cat,dog=pet")
    for member in members:
        if member not in labels:
            raise DatasetError(
                f"`merge` {text!r}: no class {member!r}; there are {_listed(labels)}{suggestion(member, labels)}"
            )
    return members, name


def _check_names(labels: Sequence[str], names: list[str], claimed: set[str]) -> None:
    for label in labels:
        if label not in claimed and names.count(label) > 1:
            raise DatasetError(f"`merge`: the name {label!r} is that of a class which is not merged; name it as well")


def choose_task(dataset: Dataset, task: str | None = None, positive: str | None = None) -> Dataset:
    """The data set with targets for a task.

    Args:
        task: `"multiclass"`, `"binary"` or `"multilabel"`; without it the data set's own, or `binary` with a positive.
            `binary` takes the second of two classes for the positive one.
        positive: the label that `binary` is to tell from all the rest. They become `"not NAME"` and `"NAME"`; of two
            classes the other one keeps its name.

    Raises:
        DatasetError: there is no such label, or the targets are not of that task.
    """
    if positive is not None:
        if task not in (None, "binary"):
            raise DatasetError(f"`positive` {positive!r} is for the task binary, and `task` is {task}; leave one out")
        return _against_rest(dataset, positive)
    if dataset.task == "multilabel" and len(dataset.labels) == 1:
        only = dataset.labels[0]
        raise DatasetError(
            f"{dataset.name}: {only!r} is the only label; tell it from its absence with `positive={only}`"
        )
    if task is None or task == dataset.task:
        return dataset
    if task == "multilabel" and dataset.is_listed:
        one_hot = np.eye(len(dataset.labels), dtype=np.uint8)[dataset.targets]
        notes = tuple(note for note in dataset.notes if "`task=multilabel`" not in note)  # it was followed
        return replace(dataset, task=task, targets=one_hot, notes=notes)
    if task == "multilabel":
        raise DatasetError(
            f"`task=multilabel`: {dataset.name} has one class for each image; several for one come from a CSV file of "
            "path,label;label, see `dataset`"
        )
    targets = _single_classes(dataset, task) if dataset.task == "multilabel" else dataset.targets
    if task == "binary" and len(dataset.labels) != 2:
        raise DatasetError(
            f"`task=binary`: {dataset.name} has {len(dataset.labels)} classes ({_listed(dataset.labels)}), expected 2; "
            "tell one from the rest with `positive=NAME`"
        )
    return replace(dataset, task=task, targets=targets)


def _against_rest(dataset: Dataset, positive: str) -> Dataset:
    _check_positive(positive, dataset.labels)
    index = dataset.labels.index(positive)
    if dataset.task == "multilabel":
        targets, rest = dataset.targets[:, index].astype(np.int32), f"not {positive}"
    else:
        targets = (dataset.targets == index).astype(np.int32)
        rest = dataset.labels[1 - index] if len(dataset.labels) == 2 else f"not {positive}"
    return replace(dataset, task="binary", labels=(rest, positive), targets=targets)


def _single_classes(dataset: Dataset, task: str) -> npt.NDArray[np.int32]:
    """The one class of each image of a multilabel data set."""
    counts = dataset.targets.sum(axis=1)
    others = int((counts != 1).sum())
    if others:
        raise DatasetError(
            f"`task={task}`: {others} of {len(counts)} images of {dataset.name} have none or several labels; "
            "leave `task` out"
        )
    classes: npt.NDArray[np.int32] = dataset.targets.argmax(axis=1).astype(np.int32)
    return classes


def _check_positive(positive: str, labels: Sequence[str]) -> None:
    if positive not in labels:
        hint = suggestion(positive, labels)
        raise DatasetError(f"`positive` {positive!r}: no such class; there are {_listed(labels)}{hint}")


def _listed(labels: Sequence[str], most: int = 20) -> str:
    return ", ".join(labels[:most]) + ", ..." * (len(labels) > most)
