"""Where a training stands after an epoch, in one file: enough to go on to the same result.

Arrays alone, no pickled objects. Written beside its place and renamed, so that a kill leaves the last one whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .datasets import Dataset
from .errors import RunError
from .spec import TrainingSpec

Arrays = list[npt.NDArray[Any]]
_GROUPS = ("model", "optimizer", "best")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch.

    Attributes:
        model: the values of all its variables: weights, moving averages, and the states of its random generators.
        optimizer: the values of the optimizer's variables, its count of steps among them.
        best: the weights of the best epoch.
        best_epoch, best_accuracy, best_loss: that epoch, from 1, and its figures.
        history: one row an epoch.
    """

    model: Arrays
    optimizer: Arrays
    best: Arrays
    best_epoch: int
    best_accuracy: float
    best_loss: float
    history: list[dict[str, float]]


def path_of(run: Path) -> Path:
    """Where the checkpoint of a run lies: beside its folder, hidden."""
    return run.absolute().parent / f".{run.absolute().name}.checkpoint.npz"


def identity(spec: TrainingSpec, dataset: Dataset) -> str:
    """A digest of all that decides a training's result: settings, images, targets, a person's own code."""
    digest = hashlib.sha256(json.dumps(asdict(spec), sort_keys=True).encode())
    digest.update(repr((dataset.name, dataset.task, dataset.labels, dataset.input)).encode())
    if spec.model_file:
        digest.update(Path(spec.model_file).read_bytes())
    digest.update(dataset.source.digest().encode())
    for array in (dataset.targets, *(dataset.given[name] for name in sorted(dataset.given))):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save(path: Path, checkpoint: Checkpoint, identity: str) -> None:
    """Write a checkpoint in the place of the last one.

    Raises:
        OSError: it cannot be written; the last one stays.
    """
    head = {
        "identity": identity,
        "best_epoch": checkpoint.best_epoch,
        "best_accuracy": checkpoint.best_accuracy,
        "best_loss": checkpoint.best_loss,
        "history": checkpoint.history,
    }
    arrays = {f"{group}_{i}": array for group in _GROUPS for i, array in enumerate(getattr(checkpoint, group))}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, head=np.array(json.dumps(head)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, identity: str) -> Checkpoint | None:
    """The checkpoint of this very training; None where there is none.

    Raises:
        RunError: it is damaged, or of a training with other settings or images.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            groups: dict[str, Any] = {group: _group(file, group) for group in _GROUPS}
            found = head.pop("identity")
            checkpoint = Checkpoint(**groups, **head)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: damaged ({error}); start anew with --force, without --resume") from error
    if found != identity:
        raise RunError(
            f"{path}: of a training with other settings or images; give those of the stopped one, or start anew "
            "with --force, without --resume"
        )
    return checkpoint


def _group(file: Any, group: str) -> Arrays:
    count = sum(name.startswith(f"{group}_") for name in file.files)
    return [file[f"{group}_{i}"] for i in range(count)]
