"""Where a training stands after an epoch, in one file: enough to go on to the same result.

Arrays alone, no pickled objects. Written beside its place and renamed, so that a kill leaves the last one whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..config import TrainingConfig
from ..contract import versions
from ..data import Dataset
from ..errors import RunError
from ..models.backbones import weight_files

Arrays = list[npt.NDArray[Any]]
_GROUPS = ("model", "optimizer", "best")
_DIGEST_BYTES = 32


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
    history: list[dict[str, Any]]


def path_of(run: Path) -> Path:
    """Where the checkpoint of a run lies: beside its folder, hidden."""
    return run.absolute().parent / f".{run.absolute().name}.checkpoint.npz"


def identity(spec: TrainingConfig, dataset: Dataset, mode: str = "") -> str:
    """A digest of all that decides a training's result: settings, images, targets, a person's own code and
    weights, versions, and over what it is distributed, on which rests what dropout draws."""
    digest = hashlib.sha256(json.dumps(asdict(spec), sort_keys=True).encode())
    digest.update(repr((versions(), mode)).encode())
    digest.update(repr((dataset.name, dataset.task, dataset.labels, dataset.input)).encode())
    if spec.model_file:
        digest.update(Path(spec.model_file).read_bytes())
    digest.update(dataset.source.digest().encode())
    for path in weight_files(spec.weights):
        digest.update(path.read_bytes())
    for array in (dataset.targets, *(dataset.given[name] for name in sorted(dataset.given))):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save(path: Path, checkpoint: Checkpoint, identity: str) -> None:
    """Write a checkpoint in the place of the last one.

    Raises:
        RunError: it cannot be written; the last one stays.
    """
    head = {
        "identity": identity,
        "best_epoch": checkpoint.best_epoch,
        "best_accuracy": checkpoint.best_accuracy,
        "best_loss": checkpoint.best_loss,
        "history": checkpoint.history,
    }
    arrays = {f"{group}_{i}": array for group in _GROUPS for i, array in enumerate(getattr(checkpoint, group))}
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(_sealed(head, arrays))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise RunError(
            f"{path}: the checkpoint cannot be written ({error.strerror or error}); make room, and go on with --resume"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, identity: str) -> Checkpoint | None:
    """The checkpoint of this very training; None where there is none.

    Raises:
        RunError: it is damaged, or of a training with other settings or images.
    """
    return read(path.read_bytes(), path, identity) if path.is_file() else None


def read(content: bytes, path: Path, identity: str) -> Checkpoint:
    """The checkpoint in a file's bytes; raises as `load`.

    Args:
        path: where they were read, for errors.
    """
    try:
        with np.load(io.BytesIO(_opened(content)), allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            groups: dict[str, Any] = {group: _group(file, group) for group in _GROUPS}
            found = head.pop("identity")
            checkpoint = Checkpoint(**groups, **head)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{path}: damaged ({' '.join(str(error).split())}); start anew with --force, without --resume"
        ) from error
    if found != identity:
        raise RunError(
            f"{path}: of a training with other settings, images or versions; give those of the stopped one, or "
            "start anew with --force, without --resume"
        )
    return checkpoint


def _sealed(head: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """An archive with its digest after it: a zip's own checksums do not cover its table of contents."""
    buffer = io.BytesIO()
    np.savez(buffer, head=np.array(json.dumps(head)), **arrays)
    content = buffer.getvalue()
    return content + hashlib.sha256(content).digest()


def _opened(sealed: bytes) -> bytes:
    content, digest = sealed[:-_DIGEST_BYTES], sealed[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum does not match")
    return content


def _group(file: Any, group: str) -> Arrays:
    count = sum(name.startswith(f"{group}_") for name in file.files)
    return [file[f"{group}_{i}"] for i in range(count)]
