"""A person's own network: `build_model(input_shape, classes)` in a Python file. Their code is run, as it must be."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .errors import TrainingError

_FUNCTION = "build_model"


def build_own(file: str, input_shape: tuple[int, int, int], classes: int) -> Any:
    """The model that `build_model` of a Python file gives, checked before the time of a training is spent on it.

    It takes float32 of shape (batch, *input_shape), scaled to about zero mean and unit variance, and gives
    probabilities of shape (batch, classes). Its layers are Keras's own, so that `pocketlens export` can load it
    without the file.

    Raises:
        TrainingError: no such file or function, an error in it, or a model that is otherwise.
    """
    build = getattr(_module(file), _FUNCTION, None)
    if not callable(build):
        raise TrainingError(f"{file}: no function {_FUNCTION}(input_shape, classes)")
    try:
        model = build(input_shape, classes)
    except (Exception, SystemExit) as error:
        raise TrainingError(f"{file}: {_FUNCTION}({input_shape}, {classes}) raised {_told(error)}") from error
    _check_kind(file, model)
    _check_shapes(file, model, input_shape, classes)
    _check_saved(file, model)
    return model


def _module(file: str) -> Any:
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise TrainingError(f"{file}: no such Python file (.py); expected one with {_FUNCTION}(input_shape, classes)")
    specification = importlib.util.spec_from_file_location("own_model_file", path)
    if specification is None or specification.loader is None:
        raise TrainingError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise TrainingError(f"{file}: {_told(error)}") from error
    return module


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _check_kind(file: str, model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TrainingError(f"{file}: {_FUNCTION} gave {type(model).__name__}, expected a keras.Model")
    for layer in model._flatten_layers():
        name = type(layer).__name__
        if type(layer).__module__.partition(".")[0] != "keras" or name == "Lambda":
            raise TrainingError(
                f"{file}: {layer.name!r} is a {name}, which cannot be loaded without this file; use layers of Keras"
            )


def _check_shapes(file: str, model: Any, input_shape: tuple[int, int, int], classes: int) -> None:
    samples = np.random.default_rng(0).standard_normal((2, *input_shape)).astype(np.float32)
    try:
        scores = np.asarray(model(samples))
    except Exception as error:
        raise TrainingError(f"{file}: the model does not take {input_shape}: {_told(error)}") from error
    if scores.shape != (2, classes):
        raise TrainingError(f"{file}: the model answers {scores.shape[1:]} values an image, expected ({classes},)")
    if scores.min() < 0 or not np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        raise TrainingError(f"{file}: the model's answers are no probabilities; end it with a softmax")


def _check_saved(file: str, model: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        registered = keras.saving.get_custom_objects()
        aside = dict(registered)
        try:
            model.save(path)
            registered.clear()  # what the file registered will not be there when the model is exported
            keras.saving.load_model(path)
        except Exception as error:
            raise TrainingError(
                f"{file}: the model cannot be saved and loaded without this file: {_told(error)}"
            ) from error
        finally:
            registered.update(aside)
