"""`--task` and `--positive`: the question that a data set is to answer, where its labels leave that open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..errors import DatasetError
from . import Dataset


def choose_task(dataset: Dataset, task: str | None = None, positive: str | None = None) -> Dataset:
    """The data set with targets for a task.

    Args:
        task: `"multiclass"`, `"binary"` or `"multilabel"`; without it the data set's own, or `binary` with a positive.
            `binary` takes the second of two classes for the positive one.
        positive: the label that `binary` is to tell from all the rest. They become `"not NAME"` and `"NAME"`; of two
            classes the other one keeps its name.

    Raises:
        DatasetError: no such label, or targets that are not of that task.
    """
    if positive is not None:
        if task not in (None, "binary"):
            raise DatasetError(f"--positive {positive!r} is for the task binary, and --task is {task}; leave one out")
        return _against_rest(dataset, positive)
    if dataset.task == "multilabel" and len(dataset.labels) == 1:
        only = dataset.labels[0]
        raise DatasetError(
            f"{dataset.name}: {only!r} is the only label; tell it from its absence with --positive {only}"
        )
    if task is None or task == dataset.task:
        return dataset
    if task == "multilabel":
        raise DatasetError(
            f"--task multilabel: {dataset.name} has one class for each image; several for one come from a CSV file of "
            "path,label;label, see --dataset"
        )
    targets = _single(dataset, task) if dataset.task == "multilabel" else dataset.targets
    if task == "binary" and len(dataset.labels) != 2:
        raise DatasetError(
            f"--task binary: {dataset.name} has {len(dataset.labels)} classes ({_some(dataset)}), expected 2; "
            "tell one from the rest with --positive NAME"
        )
    return replace(dataset, task=task, targets=targets)


def _against_rest(dataset: Dataset, positive: str) -> Dataset:
    if positive not in dataset.labels:
        raise DatasetError(f"--positive {positive!r}: no such class; there are {_some(dataset)}")
    index = dataset.labels.index(positive)
    if dataset.task == "multilabel":
        targets, rest = dataset.targets[:, index].astype(np.int32), f"not {positive}"
    else:
        targets = (dataset.targets == index).astype(np.int32)
        rest = dataset.labels[1 - index] if len(dataset.labels) == 2 else f"not {positive}"
    return replace(dataset, task="binary", labels=(rest, positive), targets=targets)


def _single(dataset: Dataset, task: str) -> npt.NDArray[np.int32]:
    """The one class of each image of a multilabel data set."""
    counts = dataset.targets.sum(axis=1)
    others = int((counts != 1).sum())
    if others:
        raise DatasetError(
            f"--task {task}: {others} of {len(counts)} images of {dataset.name} have none or several labels; "
            "leave --task out"
        )
    classes: npt.NDArray[np.int32] = dataset.targets.argmax(axis=1).astype(np.int32)
    return classes


def _some(dataset: Dataset, most: int = 20) -> str:
    return ", ".join(dataset.labels[:most]) + ", ..." * (len(dataset.labels) > most)
