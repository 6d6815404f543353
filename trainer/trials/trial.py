"""One trial of a search: a network is trained up to an epoch, and goes on from there when it is called again.

The schedule of the learning rate is that of the whole training from the first epoch on. A pause does not show in the
result: the same weights come out as from a training at once. Trials are compared after the same share of the same
schedule, so their rates are at the same point of the cosine.

The arguments and results are values that JSON can hold, for `runtime.child_worker.ChildWorker`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from runtime import Contract

from ..config import TrainingConfig
from ..data import Dataset
from ..data.datasets import load_described
from ..data.run_folder import RUN_MARKER
from ..epoch_loop import EpochLoop
from ..errors import RunError
from ..fitting.callbacks import InterruptedTrainingError
from ..fitting.memory import reuse_memory
from ..session import prepare_session
from ..training import fit, plain_model, with_inner_scaling

#: The files of a trial's folder, beside `RUN_MARKER`.
MODEL, CHECKPOINT = "model.keras", "checkpoint.npz"
#: The size of the biases that a model gets which is converted untrained.
_BIAS = 0.01


def train_trial(
    data: Mapping[str, Any], settings: Mapping[str, Any], folder: str, until: int, seconds: float | None = None
) -> dict[str, Any]:
    """Train up to an epoch, from the checkpoint in the folder if there is one, and write the model of the best epoch.

    A checkpoint that is damaged, or that of another training, is replaced.

    Args:
        data: the data set, as `load_described` takes it.
        settings: fields of `TrainingConfig`, lists for tuples; `epochs` is the length of the schedule.
        folder: the trial's own folder; it is made.
        until: the epoch to pause after. The quantization-aware phase follows the last epoch.
        seconds: the time after which the epoch at hand is the last one, even if it is before `until`; None for any
            time.

    Returns:
        `epochs`: those that are done; `seconds`: their time together; `best_epoch`; `validation`: the monitored metric
        of the best epoch before quantization; `stopped`: as in `TrainedRun`.

    Raises:
        DatasetError, RunError, TrainingError: as `training.train`.
    """
    place, config = Path(folder), read_settings(settings)
    place.mkdir(parents=True, exist_ok=True)
    keras.backend.clear_session()  # else the graphs of all trials stay in memory
    dataset = load_data(data)
    session = prepare_session(dataset, config)
    deadline = [] if seconds is None else [_Deadline(seconds, until)]
    loop = EpochLoop(session, dataset, place / CHECKPOINT, deadline, pause_after=until)
    with suppress(RunError):  # damaged, or of other versions of the packages: the first epoch gives the same weights
        loop.resume()
    fitted = fit(session, loop, place / CHECKPOINT, is_paused=until < config.epochs)
    _write(fitted.model, fitted.session.contract, place)
    return {
        "epochs": len(loop.log.rows),
        "seconds": sum(row["seconds"] for row in loop.log.rows),
        "best_epoch": fitted.best_epoch,
        "validation": loop.best.accuracy,
        "stopped": fitted.stopped,
    }


def write_untrained(data: Mapping[str, Any], settings: Mapping[str, Any], folder: str) -> int:
    """Write the model of a trial with the weights that it begins with: what it costs follows from its layers alone.

    Args:
        data, settings, folder: as for `train_trial`.

    Returns:
        The number of its weights: an int8 file has no fewer bytes.

    Raises:
        DatasetError, TrainingError: as `training.train`.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    keras.backend.clear_session()
    # A teacher costs time here, and does not change the network.
    session = prepare_session(load_data(data), replace(read_settings(settings), teacher=None))
    model, session = with_inner_scaling(session, plain_model(session))
    _fill_biases(model)
    _write(model, session.contract, place)
    return int(model.count_params())


def check_data(data: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> None:
    """Load the data set for the trials that follow, and refuse a teacher that does not suit them.

    Args:
        data: as for `train_trial`.
        settings: of a trial with the teacher, as for `train_trial`; None without a teacher.

    Raises:
        DatasetError, TrainingError: the data set or the teacher cannot be used, or the teacher was trained on samples
            that the trials measure with.
    """
    dataset = load_data(data)
    if settings is not None:
        prepare_session(dataset, read_settings(settings))


def read_settings(settings: Mapping[str, Any]) -> TrainingConfig:
    """The configuration of settings that went through JSON, where tuples become lists.

    Raises:
        TrainingError: a setting is out of range.
    """
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    return TrainingConfig(**values)


class _Deadline(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training after the epoch in which its time is over; the checkpoint of that epoch is written before."""

    def __init__(self, seconds: float, until: int) -> None:
        super().__init__()
        self._end, self._until = time.monotonic() + seconds, until

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch + 1 < self._until and time.monotonic() >= self._end:
            raise InterruptedTrainingError


def load_data(data: Mapping[str, Any]) -> Dataset:
    """A data set as `load_described` gives it; the last two are kept for the calls that follow."""
    return _load_once(json.dumps(data, sort_keys=True))


@lru_cache(maxsize=2)
def _load_once(data: str) -> Dataset:
    reuse_memory()
    return load_described(json.loads(data))


def _fill_biases(model: Any) -> None:
    """Give small values to weights that are all zero: the converter drops a bias of zeros, which a training fills."""
    rng = np.random.default_rng(0)
    values = model.get_weights()
    model.set_weights([each if each.any() else rng.uniform(-_BIAS, _BIAS, each.shape) for each in values])


def _write(model: Any, contract: Contract, folder: Path) -> None:
    """Write beside the place and rename, so that a kill leaves whole files."""
    partial = folder / f"partial.{MODEL}"
    model.save(partial)
    partial.replace(folder / MODEL)
    text = folder / f"partial.{RUN_MARKER}"
    text.write_text(contract.to_json(), encoding="utf-8")
    text.replace(folder / RUN_MARKER)
