"""Pocketlens on the device: classifies images or vectors of features with one self-describing TensorFlow Lite file.

    from runtime import Classifier
    print(Classifier("int8.tflite").classify("shoe.jpg")[0].label)

Names are imported when they are first used: numpy alone takes a second on a small board, and a command's help does
not need it. This package imports neither `trainer` nor `exporter`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .classifier import Classifier
    from .contract import Confidence, Contract, Provenance
    from .errors import (
        ContractError,
        FeaturesError,
        ImageError,
        InputError,
        InterpreterError,
        ModelFileError,
        PocketlensError,
    )
    from .images import load_pixels
    from .input_spec import FeaturesInput, ImageInput
    from .model_file import ModelFile, read_model, seal
    from .model_follower import ModelFollower
    from .occlusion import Explanation, explain
    from .postprocessing import Prediction, rank
    from .preprocessing import FeaturePreprocessor, Preprocessor, TensorSpec, make_preprocessor

__all__ = [
    "Classifier",
    "Confidence",
    "Contract",
    "ContractError",
    "Explanation",
    "FeaturePreprocessor",
    "FeaturesError",
    "FeaturesInput",
    "ImageError",
    "ImageInput",
    "InputError",
    "InterpreterError",
    "ModelFile",
    "ModelFileError",
    "ModelFollower",
    "PocketlensError",
    "Prediction",
    "Preprocessor",
    "Provenance",
    "TensorSpec",
    "__version__",
    "explain",
    "load_pixels",
    "make_preprocessor",
    "rank",
    "read_model",
    "seal",
]

_MODULES = {
    "classifier": ("Classifier",),
    "contract": ("Confidence", "Contract", "Provenance"),
    "errors": (
        "ContractError",
        "FeaturesError",
        "ImageError",
        "InputError",
        "InterpreterError",
        "ModelFileError",
        "PocketlensError",
    ),
    "images": ("load_pixels",),
    "input_spec": ("FeaturesInput", "ImageInput"),
    "model_file": ("ModelFile", "read_model", "seal"),
    "model_follower": ("ModelFollower",),
    "occlusion": ("Explanation", "explain"),
    "postprocessing": ("Prediction", "rank"),
    "preprocessing": ("FeaturePreprocessor", "Preprocessor", "TensorSpec", "make_preprocessor"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
