"""Builds, trains and measures Keras classifiers: from a data set to a run folder. Imports the runtime only.

    from trainer import TrainingConfig, load_dataset, train, write_run
    write_run(train(load_dataset("digits"), TrainingConfig(epochs=5)), Path("runs/digits"))

Names are imported when they are first used: TensorFlow takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import TrainingConfig
    from .data import load_dataset
    from .data.run_folder import read_run
    from .evaluation.scoring import load
    from .run_writer import write_run
    from .training import TrainedRun, train

__all__ = ["TrainedRun", "TrainingConfig", "load", "load_dataset", "read_run", "train", "write_run"]

#: The module of each name. `train` lives in `training`: a module of its name would hide the function.
_MODULES = {
    "TrainedRun": "training",
    "TrainingConfig": "config",
    "load": "evaluation.scoring",
    "load_dataset": "data",
    "read_run": "data.run_folder",
    "train": "training",
    "write_run": "run_writer",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
