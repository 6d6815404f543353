"""A person's own network: `build_model(input_shape, classes)` in a Python file. Their code is run, as it must be."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ..errors import TrainingError

_FUNCTION = "build_model"
_SAMPLES = 8


def build_custom(file: str, input_shape: tuple[int, ...], classes: int, task: str = "multiclass") -> Any:
    """The model that `build_model` of a Python file gives, checked before the time of a training is spent on it.

    It takes float32 of shape (batch, *input_shape), scaled to about zero mean and unit variance, and gives
    probabilities of shape (batch, classes): they sum to one, or, of the tasks `binary` (where `classes` is 1) and
    `multilabel`, each is one of its own. Its layers are Keras's own, so that `pocketlens export` can load it
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
    _check_answers(file, _answers(file, model, input_shape, classes), task)
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
    sys.modules[specification.name] = module  # where dataclasses look for a module's names
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(specification.name, None)
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


def _answers(file: str, model: Any, input_shape: tuple[int, ...], classes: int) -> npt.NDArray[np.float32]:
    """What the model answers to a few samples, shape (samples, classes)."""
    samples = np.random.default_rng(0).standard_normal((_SAMPLES // 2, *input_shape)).astype(np.float32)
    # Each and its opposite: of a model that ends without an activation one of the two answers is below 0.
    samples = np.concatenate([samples, -samples])
    try:
        scores = np.asarray(model(samples))
    except Exception as error:
        raise TrainingError(f"{file}: the model does not take {input_shape}: {_told(error)}") from error
    if scores.shape != (_SAMPLES, classes):
        raise TrainingError(f"{file}: the model answers {scores.shape[1:]} values an image, expected ({classes},)")
    return scores


def _check_answers(file: str, scores: npt.NDArray[np.float32], task: str) -> None:
    wanted = "a softmax" if task == "multiclass" else "sigmoids" if task == "multilabel" else "one sigmoid"
    sums_to_one = np.allclose(scores.sum(axis=1), 1, atol=1e-3)
    good = scores.min() >= 0 and scores.max() <= 1 + 1e-3 and (sums_to_one or task != "multiclass")
    if not good:  # NaN too
        raise TrainingError(f"{file}: the model's answers are no probabilities; end it with {wanted}, for {task}")
    # Untrained sigmoids may answer with a half each, which sums to one where there are two of them.
    is_softmax = scores.min() == 1 if task == "binary" else sums_to_one and np.ptp(scores) > 0
    if task != "multiclass" and is_softmax:
        raise TrainingError(f"{file}: the model's answers sum to one; end it with {wanted}, for {task}")


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
