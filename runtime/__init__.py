"""Pocketlens on the device: classify pictures with one self-describing TensorFlow Lite file.

from runtime import Classifier
print(Classifier("int8.tflite").classify("shoe.jpg")[0].label)
"""

from ._version import __version__
from .classifier import Classifier
from .contract import Contract, ImageInput, Provenance
from .errors import ContractError, ImageError, InterpreterError, ModelFileError, PocketlensError
from .images import load_pixels
from .model_file import ModelFile, read_model, seal
from .prediction import Prediction, rank
from .preprocessing import Preprocessor, TensorSpec

__all__ = [
    "Classifier",
    "Contract",
    "ContractError",
    "ImageError",
    "ImageInput",
    "InterpreterError",
    "ModelFile",
    "ModelFileError",
    "PocketlensError",
    "Prediction",
    "Preprocessor",
    "Provenance",
    "TensorSpec",
    "__version__",
    "load_pixels",
    "rank",
    "read_model",
    "seal",
]
