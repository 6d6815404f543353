"""The chosen trial of a search, trained to its end as a run. Only this function of a search measures the test split."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunError, TrainingError
from ..fitting.checkpoint import checkpoint_path
from ..run_writer import reserve_target, write_run
from ..training import train
from .trial import load_data, read_settings


def train_whole(
    data: Mapping[str, Any], settings: Mapping[str, Any], target: str, checkpoint: str | None, force: bool
) -> dict[str, Any]:
    """Train a network on its own settings to the end, and write the run folder.

    Args:
        data, settings: as for `train_trial`.
        target: the run folder. A training that was stopped on the way to it goes on.
        checkpoint: of a trial with these settings, from which the training goes on to the same weights; None, or a file
            that is not there or from other versions of the packages, to begin at the first epoch.
        force: replace an existing run.

    Returns:
        `test`: the headline metrics of the float32 model on the test split; `epochs`, `best_epoch`, `seconds` of all
        epochs, and `warnings`.

    Raises:
        DatasetError, RunError, TrainingError: as `training.train` and `run_writer.reserve_target`; or the training
            diverged, or an image cannot be read any more.
    """
    place = Path(target)
    own = checkpoint_path(place)
    with reserve_target(place, force, resume=own.is_file()):
        is_copy = not own.is_file() and checkpoint is not None and Path(checkpoint).is_file()
        if is_copy:
            partial = own.with_name(f"{own.name}.partial")
            shutil.copyfile(str(checkpoint), partial)
            partial.replace(own)
        dataset, config = load_data(data), read_settings(settings)
        try:
            run = train(dataset, config, checkpoint_file=own, resume=True)
        except RunError:
            if not is_copy:
                raise
            own.unlink(missing_ok=True)
            run = train(dataset, config, checkpoint_file=own)
        if run.stopped not in ("", "early"):
            raise TrainingError(f"the training ended after epoch {len(run.history)}: {run.problem or run.stopped}")
        write_run(run, place)
        own.unlink(missing_ok=True)
    return {
        "test": run.metrics.headline(),
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "seconds": sum(row["seconds"] for row in run.history),
        "warnings": list(run.warnings),
    }
