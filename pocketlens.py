"""The public names of Pocketlens, under the name of its distribution.

    from pocketlens import Classifier
    print(Classifier("int8.tflite").classify("shoe.jpg")[0].label)

This module only forwards: what a device uses is in the package `runtime`, training is in `trainer`, and conversion in
`exporter`. Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from exporter.errors import ExportError
    from exporter.export import export
    from exporter.recipe import ExportConfig, Recipe
    from runtime import (
        Classifier,
        Confidence,
        Contract,
        ContractError,
        FeaturesError,
        FeaturesInput,
        ImageError,
        ImageInput,
        InputError,
        InterpreterError,
        ModelFile,
        ModelFileError,
        PocketlensError,
        Prediction,
        Provenance,
        __version__,
        read_model,
    )
    from trainer.config import TrainingConfig
    from trainer.data.datasets import load_dataset
    from trainer.data.run_folder import read_run
    from trainer.errors import DatasetError, RunError, TrainingError
    from trainer.evaluation.scoring import load
    from trainer.training import train

__all__ = [
    "Classifier",
    "Confidence",
    "Contract",
    "ContractError",
    "DatasetError",
    "ExportConfig",
    "ExportError",
    "FeaturesError",
    "FeaturesInput",
    "ImageError",
    "ImageInput",
    "InputError",
    "InterpreterError",
    "ModelFile",
    "ModelFileError",
    "PocketlensError",
    "Prediction",
    "Provenance",
    "Recipe",
    "RunError",
    "TrainingConfig",
    "TrainingError",
    "__version__",
    "export",
    "load",
    "load_dataset",
    "read_model",
    "read_run",
    "train",
]

#: The names that only a workstation has, by module; all others are in `runtime`.
_WORKSTATION = {
    "exporter.errors": ("ExportError",),
    "exporter.export": ("export",),
    "exporter.recipe": ("ExportConfig", "Recipe"),
    "trainer.config": ("TrainingConfig",),
    "trainer.data.datasets": ("load_dataset",),
    "trainer.data.run_folder": ("read_run",),
    "trainer.errors": ("DatasetError", "RunError", "TrainingError"),
    "trainer.evaluation.scoring": ("load",),
    "trainer.training": ("train",),
}
_HOMES = {name: module for module, names in _WORKSTATION.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "runtime")
    if name in _HOMES and not _has_workstation():
        raise ImportError(
            f"pocketlens.{name} needs TensorFlow, which is not installed; on a workstation: "
            "pip install 'pocketlens[workstation]'"
        )
    for package in {"runtime", home.partition(".")[0]}:
        _refuse_other(package)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [name for name in __all__ if name not in _HOMES or _has_workstation()]


def _has_workstation() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _refuse_other(package: str) -> None:
    """Raise ImportError where a file of the user's is found in place of one of our packages."""
    found = importlib.util.find_spec(package)
    from pathlib import Path  # here, as the command's start has no use for it

    origin = None if found is None else found.origin
    if origin is None:
        raise ImportError(f"Pocketlens's package `{package}` is not installed; install pocketlens again")
    if Path(origin).resolve() != Path(__file__).resolve().parent / package / "__init__.py":
        raise ImportError(f"{origin} is found in place of Pocketlens's package `{package}`: rename that file or folder")


def _main() -> NoReturn:
    """The command `pocketlens`; a file that hides our package ends it with one line."""
    try:
        from runtime.cli.main import main
    except ImportError:
        try:
            _refuse_other("runtime")
        except ImportError as error:
            sys.exit(f"error: {error}")
        raise
    main()
