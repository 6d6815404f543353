"""One trial of a search: a network is trained up to an epoch, and goes on from there when it is called again.

The schedule of the learning rate is that of the whole training from the first epoch on. A pause does not show in the
result: the same weights come out as from a training at once. Trials are compared after the same share of the same
schedule, so their rates are at the same point of the cosine.

The arguments and results are values that JSON can hold, for `runtime.child_worker.ChildWorker`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras

from runtime import Contract

from ..config import TrainingConfig
from ..data import Dataset, Geometry, load_dataset
from ..data.run_folder import RUN_MARKER
from ..epoch_loop import EpochLoop
from ..session import prepare_session
from ..training import fit, plain_model, with_inner_scaling

#: The files of a trial's folder, beside `RUN_MARKER`.
MODEL, CHECKPOINT = "model.keras", "checkpoint.npz"


def train_trial(data: Mapping[str, Any], settings: Mapping[str, Any], folder: str, until: int) -> dict[str, Any]:
    """Train up to an epoch, from the checkpoint in the folder if there is one, and write the model of the best epoch.

    Args:
        data: `name` of the data set, and optionally `image_size` as [height, width], `colour` and `data_dir`.
        settings: fields of `TrainingConfig`, lists for tuples; `epochs` is the length of the schedule.
        folder: the trial's own folder; it is made.
        until: the epoch to pause after. The quantization-aware phase follows the last epoch.

    Returns:
        `epochs`: those that are done; `seconds`: their time together; `best_epoch`; `validation`: the monitored metric
        of the best epoch before quantization; `stopped`: as in `TrainedRun`.

    Raises:
        DatasetError, RunError, TrainingError: as `training.train`.
    """
    place, config = Path(folder), read_settings(settings)
    place.mkdir(parents=True, exist_ok=True)
    keras.backend.clear_session()  # else the graphs of all trials stay in memory
    dataset = _load(data)
    session = prepare_session(dataset, config)
    loop = EpochLoop(session, dataset, place / CHECKPOINT, pause_after=until)
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


def write_untrained(data: Mapping[str, Any], settings: Mapping[str, Any], folder: str) -> None:
    """Write the model of a trial with the weights that it begins with: what it costs follows from its layers alone.

    Args:
        data, settings, folder: as for `train_trial`.

    Raises:
        DatasetError, TrainingError: as `training.train`.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    keras.backend.clear_session()
    # A teacher costs time here, and does not change the network.
    session = prepare_session(_load(data), replace(read_settings(settings), teacher=None))
    model, session = with_inner_scaling(session, plain_model(session))
    _write(model, session.contract, place)


def read_settings(settings: Mapping[str, Any]) -> TrainingConfig:
    """The configuration of settings that went through JSON, where tuples become lists.

    Raises:
        TrainingError: a setting is out of range.
    """
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    return TrainingConfig(**values)


def _load(data: Mapping[str, Any]) -> Dataset:
    size = data.get("image_size")
    return _load_once(data["name"], tuple(size) if size else None, data.get("colour"), data.get("data_dir"))


@lru_cache(maxsize=2)
def _load_once(name: str, size: tuple[int, int] | None, colour: str | None, data_dir: str | None) -> Dataset:
    geometry = Geometry(image_size=size, colour=colour)
    return load_dataset(name, geometry, Path(data_dir) if data_dir else None)


def _write(model: Any, contract: Contract, folder: Path) -> None:
    """Write beside the place and rename, so that a kill leaves whole files."""
    partial = folder / f"partial.{MODEL}"
    model.save(partial)
    partial.replace(folder / MODEL)
    text = folder / f"partial.{RUN_MARKER}"
    text.write_text(contract.to_json(), encoding="utf-8")
    text.replace(folder / RUN_MARKER)
