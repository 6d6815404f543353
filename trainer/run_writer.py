"""The run folder: what the trainer hands on. Written whole or not at all.

model.keras     the model, of the best epoch by validation
contract.json   what it expects and answers
splits.json     where the pictures are, what is on them, and which of them are in which split
images.npy      the pictures themselves, where they came as an array
history.csv     one row an epoch
metrics.json    figures of the test split, the settings, and why training stopped, where it did before its end
curves.png      loss and accuracy, or the task's own metric, over the epochs
confusion.png   rows are the truth; of the task binary roc.png beside it; labels.png in its place of multilabel
boundary.png    the decision boundary, where the input are two features
vectors.npy     in place of images.npy: vectors of features, float64
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .data.run_folder import RUN_MARKER, SPLITS_VERSION
from .errors import RunError
from .fitting.checkpoint import path_of
from .plots.boundary_of_run import write_boundary
from .plots.figure import save_curves
from .plots.metrics import save_task_pictures

if TYPE_CHECKING:
    from .data import Dataset
    from .train import TrainedRun

_NO_PLACE = "which no run can take the place of; name a folder in it with --out"


def check_target(target: Path, force: bool, resume: bool = False) -> None:
    """Refuse a place for a run before the time of a training is spent.

    Args:
        force: replace a run, and a stopped training's checkpoint.
        resume: there must be a checkpoint; the run of a training that was interrupted is replaced.

    Raises:
        RunError: a run or a checkpoint lies there and `force` is off; something else lies there; no checkpoint to
            go on from; or it cannot be written or put in its place.
    """
    _check_checkpoint(target, force, resume)
    if target.exists() and not target.is_dir():
        raise RunError(f"{target}: not a folder; name another with --out")
    if target.is_dir() and any(target.iterdir()):
        if not (target / RUN_MARKER).is_file():
            raise RunError(f"{target}: holds files and is not a run; name another folder with --out")
        if not (force or (resume and was_interrupted(target))):
            raise RunError(f"{target}: holds a run already; --force replaces it, --out names another place")
    _check_place(target)


def _check_place(target: Path) -> None:
    """A run is written beside its place and renamed: that wants a folder around it that can be written."""
    if os.path.ismount(target):
        raise RunError(f"{target}: a mount point, {_NO_PLACE}")
    if target.exists() and target.samefile(Path.cwd()):
        raise RunError(f"{target}: the folder that you are in, {_NO_PLACE}")
    around = next(parent for parent in target.absolute().parents if parent.exists())
    for folder in filter(Path.exists, (target, around)):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise RunError(f"{folder}: cannot be written, and a run is made beside its place; name another with --out")


def _check_checkpoint(target: Path, force: bool, resume: bool) -> None:
    checkpoint = path_of(target)
    if resume and not checkpoint.is_file():
        raise RunError(
            f"{target}: no stopped training to go on with ({checkpoint.name} is not there); leave --resume out"
        )
    if checkpoint.is_file() and not (force or resume):
        raise RunError(
            f"{checkpoint}: a training was stopped; --resume goes on with it, --force starts anew and drops it"
        )


def was_interrupted(run: Path) -> bool:
    """Whether the training of this run folder was interrupted, or missed a picture, so that it may go on."""
    try:
        metrics = json.loads((run / "metrics.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(metrics, dict) and metrics.get("stopped") in ("interrupted", "unreadable")


def write_run(run: TrainedRun, target: Path) -> None:
    """Write a run folder, replacing the run that may lie there.

    Raises:
        OSError: it cannot be written; what lay there is untouched.
    """
    from .tasks import monitored  # here: it brings Keras, and `check_target` is asked before that

    with _whole_folder(target) as folder:
        run.model.save(folder / "model.keras")
        (folder / RUN_MARKER).write_text(run.contract.to_json(), encoding="utf-8")
        _write_splits(run, folder)
        with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, run.history[0])
            writer.writeheader()
            writer.writerows(run.history)
        metrics = {
            "test": run.metrics.as_dict(),
            "best_epoch": run.best_epoch,
            "stopped": run.stopped,
            "parameters": run.model.count_params(),
            "splits": {name: len(indices) for name, indices in run.splits.items()},
            "settings": asdict(run.spec),
            **({"quantization_aware": run.quantization_aware} if run.quantization_aware else {}),
            "merged": list(run.dataset.merged),
            "left_out": list(run.dataset.left_out),
        }
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        monitor = monitored(run.dataset.task, run.spec.balance)
        save_curves(folder / "curves.png", run.history, run.best_epoch, monitor)
        save_task_pictures(folder, run.metrics, run.dataset.name)
        write_boundary(run, folder)


def _targets(dataset: Dataset) -> list[Any]:
    """The class of each picture; of the task multilabel the places of the labels that it has."""
    if dataset.task == "multilabel":
        return [np.flatnonzero(row).tolist() for row in dataset.targets]
    classes: list[Any] = dataset.targets.tolist()
    return classes


def _write_splits(run: TrainedRun, folder: Path) -> None:
    document = {
        "version": SPLITS_VERSION,
        "images": run.dataset.source.write(folder),
        "targets": _targets(run.dataset),
        **{name: indices.tolist() for name, indices in run.splits.items()},
    }
    (folder / "splits.json").write_text(json.dumps(document) + "\n", encoding="utf-8")


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and is removed when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-old-", dir=target.parent))
            try:
                target.replace(old / "run")
            except OSError:
                old.rmdir()
                raise
            try:
                partial.replace(target)
            except OSError:
                (old / "run").replace(target)
                old.rmdir()
                raise
            shutil.rmtree(old)
        else:
            partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
