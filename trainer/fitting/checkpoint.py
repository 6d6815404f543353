"""Checkpoints: the state of a training after an epoch, in one file, enough to continue to the same result.

The file holds arrays alone, no pickled objects. It is written beside its place and renamed, so that a kill leaves the
last checkpoint whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.archives import open_archive

from ..backbones import weight_files
from ..config import TrainingConfig
from ..contract import package_versions
from ..data import Dataset
from ..errors import RunError
from ..teachers import teacher_paths

Arrays = list[npt.NDArray[Any]]
_GROUPS = ("model", "optimizer", "best")
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch.

    Attributes:
        model: values of all variables of the model: weights, moving averages, states of its random generators.
        optimizer: values of the optimizer's variables, its step count among them.
        best: weights of the best epoch.
        best_epoch, best_accuracy, best_loss: the best epoch, from 1, and its monitored metric and loss.
        history: one row an epoch.
    """

    model: Arrays
    optimizer: Arrays
    best: Arrays
    best_epoch: int
    best_accuracy: float
    best_loss: float
    history: list[dict[str, Any]]


def checkpoint_path(run: Path) -> Path:
    """The checkpoint file of a run folder: hidden, beside the folder."""
    return run.absolute().parent / f".{run.absolute().name}.checkpoint.npz"


def training_identity(config: TrainingConfig, dataset: Dataset, mode: str = "") -> str:
    """A SHA-256 digest, in hex, of everything that decides a training's result.

    It covers the settings, images, targets, a custom model's code, initial weights, package versions, and the mode of
    distribution, which decides what dropout draws.
    """
    digest = hashlib.sha256(json.dumps(config.as_dict(), sort_keys=True).encode())
    digest.update(repr((package_versions(), mode)).encode())
    digest.update(repr((dataset.name, dataset.task, dataset.labels, dataset.input)).encode())
    if config.model_file:
        digest.update(Path(config.model_file).read_bytes())
    digest.update(dataset.source.digest().encode())
    for path in (*weight_files(config.weights), *teacher_paths(config.teacher)):
        digest.update(path.read_bytes())
    for array in (dataset.targets, *(dataset.given[name] for name in sorted(dataset.given))):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: str) -> None:
    """Write a checkpoint in place of the last one.

    Args:
        identity: the digest from `training_identity`.

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
            file.write(_seal(head, arrays))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise RunError(
            f"{path}: the checkpoint cannot be written ({error.strerror or error}); make room, and go on with `resume`"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def parse_checkpoint(content: bytes, path: Path, identity: str) -> Checkpoint:
    """The checkpoint in the bytes of a file.

    Args:
        path: the file, for errors.
        identity: the digest of this training, from `training_identity`.

    Raises:
        RunError: it is damaged, or belongs to a training with other settings or images.
    """
    try:
        archive = io.BytesIO(_unseal(content))
        with open_archive(archive):
            pass  # its list of members is sound; numpy reads it again
        with np.load(archive, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            groups: dict[str, Any] = {group: _read_group(file, group) for group in _GROUPS}
            found = head.pop("identity")
            checkpoint = Checkpoint(**groups, **head)
    except Exception as error:  # zipfile and numpy raise many kinds on damaged files
        raise RunError(
            f"{path}: damaged ({' '.join(str(error).split())}); start anew with `force`, without `resume`"
        ) from error
    if found != identity:
        raise RunError(
            f"{path}: from a training with other settings, images or versions; give those of the stopped one, or "
            "start anew with `force`, without `resume`"
        )
    return checkpoint


def _seal(head: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """A zip archive followed by its digest: the zip's own checksums do not cover its table of contents."""
    buffer = io.BytesIO()
    np.savez(buffer, head=np.array(json.dumps(head)), **arrays)
    content = buffer.getvalue()
    return content + hashlib.sha256(content).digest()


def _unseal(sealed: bytes) -> bytes:
    content, digest = sealed[:-_DIGEST_BYTES], sealed[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum does not match")
    return content


def _read_group(file: Any, group: str) -> Arrays:
    count = sum(name.startswith(f"{group}_") for name in file.files)
    return [file[f"{group}_{i}"] for i in range(count)]
