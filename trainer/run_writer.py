"""Writes the run folder, the trainer's result. It is written whole or not at all.

model.keras     the model with the weights of the best epoch
contract.json   its input, labels and task
splits.json     the sources of the images, their targets, and the split of each
images.npy      the images, if the data set is an array; runs share one copy of it (`data.shared_arrays`)
vectors.npy     instead of images.npy: vectors of features, float64
history.csv     one row an epoch
metrics.json    figures of the test split, the settings, warnings, and why training stopped early, if it did
curves.png      loss and accuracy, or the task's own metric, over the epochs
confusion.png   confusion matrix, a row for each true label; roc.png beside it for the task binary
labels.png      instead of confusion.png for the task multilabel
boundary.png    the decision boundary, if the input is two features
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime import PocketlensError
from runtime.files import shown

from .backbones import describe_origin
from .data.run_folder import BOUNDARY, RUN_MARKER, read_run_file, write_splits
from .errors import RunError
from .files import exchange, locked
from .fitting.checkpoint import checkpoint_path
from .teachers import describe_teacher

if TYPE_CHECKING:
    from .training import TrainedRun

#: Points of each feature in the drawing of the decision boundary.
_PLANE_SIDE = 200
#: All files of a run. Nothing else in a run folder is ever deleted.
_RUN_FILES = frozenset(
    (
        *("model.keras", RUN_MARKER, "splits.json", "images.npy", "vectors.npy", "history.csv", "metrics.json"),
        *("curves.png", "confusion.png", "roc.png", "labels.png", BOUNDARY),
    )
)
_NO_PLACE = "which no run can take the place of; name a folder in it with `target`"


@contextmanager
def reserve_target(target: Path, force: bool, resume: bool = False) -> Iterator[None]:
    """Keep the folder for a run to this training while the block runs, and tidy up after a killed one.

    Args:
        target, force, resume: as `check_target` has them.

    Raises:
        RunError: another training writes this run, or as `check_target`.
        OSError: the folder around it cannot be written.
    """
    _check_place(target)
    place = target.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    in_use = RunError(f"{shown(target)}: another training is writing this run; wait for it, or name another `target`")
    with locked(place.with_name(f".{place.name}.lock"), in_use) as is_alone:
        if is_alone:
            _recover(place)
        check_target(target, force, resume)
        yield


def check_target(target: Path, force: bool, resume: bool = False) -> None:
    """Refuse an unusable folder for a run before any training.

    Args:
        target: the run folder to write.
        force: replace an existing run, and the checkpoint of a stopped training.
        resume: expect a checkpoint, and replace the run of an interrupted training.

    Raises:
        RunError: the folder holds a run or has a checkpoint and `force` is off; it holds something else, also
            beside a run; there is no checkpoint to resume from; or the folder cannot be written or replaced.
    """
    _check_checkpoint(target, force, resume)
    if target.is_dir() and any(target.iterdir()):
        if not (target / RUN_MARKER).is_file():
            raise RunError(f"{target}: holds files and is not a run; name another folder with `target`")
        if not (force or (resume and was_interrupted(target))):
            raise RunError(f"{target}: holds a run already; `force` replaces it, `target` names another place")
        _refuse_other_files(target)
    _check_place(target)


def _check_place(target: Path) -> None:
    """A run is written beside its place and renamed, so the folder around it must be writable."""
    if target.exists() and not target.is_dir():
        raise RunError(f"{target}: not a folder; name another with `target`")
    if os.path.ismount(target):
        raise RunError(f"{target}: a mount point, {_NO_PLACE}")
    if target.exists() and target.samefile(Path.cwd()):
        raise RunError(f"{target}: the folder that you are in, {_NO_PLACE}")
    around = next(parent for parent in target.absolute().parents if parent.exists())
    for folder in filter(Path.exists, (target, around)):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise RunError(
                f"{folder}: cannot be written, and a run is made beside its place; name another with `target`"
            )


def _check_checkpoint(target: Path, force: bool, resume: bool) -> None:
    checkpoint = checkpoint_path(target)
    if resume and not checkpoint.is_file():
        raise RunError(
            f"{target}: no stopped training to go on with ({checkpoint.name} is not there); leave `resume` out"
        )
    if checkpoint.is_file() and not (force or resume):
        raise RunError(
            f"{checkpoint}: a training was stopped; `resume` goes on with it, `force` starts anew and drops it"
        )


def was_interrupted(run: Path) -> bool:
    """Whether the training of this run folder was interrupted, or failed to read an image, so that it can go on."""
    try:
        metrics = json.loads(read_run_file(run / "metrics.json"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(metrics, dict) and metrics.get("stopped") in ("interrupted", "unreadable")


def write_run(run: TrainedRun, target: Path) -> None:
    """Write a run folder, in place of an existing run.

    Raises:
        RunError: the run cannot be written, or the existing folder holds a file that is not of a run. An existing
            run is unchanged.
    """
    from .evaluation.predictions import describe_outputs
    from .plots.history import save_curves  # matplotlib is not needed before
    from .plots.metrics import save_task_pictures

    with _whole_folder(target) as folder:
        run.model.save(folder / "model.keras")
        (folder / RUN_MARKER).write_text(run.contract.to_json(), encoding="utf-8")
        write_splits(folder, run.dataset.source, run.dataset.targets, run.dataset.task, run.splits.items())
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
            "loss": run.config.loss_for(run.dataset.task),
            "outputs": describe_outputs(run.dataset.task, len(run.dataset.labels)),
            "initial_weights": describe_origin(run.config.architecture, run.config.weights),
            **({"teacher": describe_teacher(run.config)} if run.config.teacher else {}),
            "settings": run.config.as_dict(),
            **({"quantization_aware": run.quantization_aware} if run.quantization_aware else {}),
            "merged": list(run.dataset.merged),
            "left_out": list(run.dataset.left_out),
            "notes": list(run.dataset.remarks),
            "warnings": list(run.warnings),
        }
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        save_curves(folder / "curves.png", run.history, run.best_epoch, run.monitor)
        save_task_pictures(folder, run.metrics, run.dataset.name)
        _draw_boundary(run, folder / BOUNDARY)


def _draw_boundary(run: TrainedRun, path: Path) -> None:
    """Draw the decision boundary, if there is a plane to draw."""
    from .plots.decision_boundary import draw_boundaries, make_plane, takes_two_features
    from .plots.figure import save_png

    if not takes_two_features(run.contract):
        return
    vectors = np.asarray(run.dataset.pixels)
    plane = make_plane(run.contract, vectors, run.dataset.targets, run.splits.test, _PLANE_SIDE)
    scores, train = plane.keras_scores(run.model), run.splits.train
    titles = (f"{run.dataset.name}: training vectors", f"test vectors, accuracy {run.metrics.accuracy:.4f}")
    samples = {titles[0]: (vectors[train], run.dataset.targets[train])}
    save_png(path, draw_boundaries(dict.fromkeys(titles, scores), plane, samples))


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that replaces it if the block succeeds, and is removed if it fails."""
    place = target.resolve()  # a link to a run stays a link
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=_partial_prefix(place), dir=place.parent))
    try:
        yield partial
        partial.chmod(0o755)
        _refuse_other_files(target)
        replaced = _put_in_place(partial, place)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, PocketlensError):
            raise _cannot_write(target, error) from error
        raise
    _discard(replaced)


def _cannot_write(target: Path, error: OSError) -> RunError:
    """The error for a full disk and the like; numpy's has no number, and only its text says what is wrong."""
    cure = ", and `resume` goes on after the last epoch" if checkpoint_path(target).is_file() else ""
    reason = error.strerror or " ".join(str(error).split())
    return RunError(f"{shown(target)}: the run cannot be written ({reason}); make room there{cure}")


def _put_in_place(partial: Path, place: Path) -> Path:
    """Rename a folder to `place`; returns where the folder is that was there.

    Where the system cannot exchange two folders, a kill may leave none at `place`: `_recover` puts it back.
    """
    if not place.exists():
        partial.replace(place)
        return partial
    if exchange(partial, place):
        return partial
    previous = _previous(place)
    place.replace(previous)
    try:
        partial.replace(place)
    except BaseException:
        previous.replace(place)
        raise
    return previous


def _recover(place: Path) -> None:
    """Finish or undo what a training that was killed has begun at `place`, and remove its leftovers."""
    previous = _previous(place)
    if previous.is_dir() and not place.exists():
        previous.replace(place)
    _discard(previous)
    for partial in place.parent.iterdir():
        if partial.name.startswith(_partial_prefix(place)):
            _discard(partial)


def _previous(place: Path) -> Path:
    return place.with_name(f".{place.name}.previous")


def _partial_prefix(place: Path) -> str:
    return f".{place.name}.partial-"


def _discard(folder: Path) -> None:
    """Delete the files of a run, and the folder if nothing else is in it; never fail."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _is_of_a_run(path):
                path.unlink()
        folder.rmdir()


def _is_of_a_run(path: Path) -> bool:
    """Whether a file in a run folder was written by the trainer, or by a training that was killed."""
    is_partial = any(path.name.startswith(f".{name}.partial-") for name in _RUN_FILES)
    return (path.name in _RUN_FILES or is_partial) and (path.is_symlink() or not path.is_dir())


def _refuse_other_files(target: Path) -> None:
    """Refuse to replace a folder with files of a person's own.

    Raises:
        RunError: there is such a file.
    """
    others = sorted(path.name for path in target.iterdir() if not _is_of_a_run(path)) if target.is_dir() else []
    if others:
        raise RunError(
            f"{shown(target)}: holds {shown(others[0])}, which is no file of a run and would be lost with it; "
            "move it away, or name another folder with `target`"
        )
