"""Custom models: `build_model(input_shape, classes)` in a user's Python file. The code in the file is run."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ..backbones import check_model_file
from ..errors import TrainingError
from ..keras_inspection.input_scaling import find_input_scaling
from ..keras_inspection.outputs import OutputKind, classify_outputs, random_inputs

_FUNCTION = "build_model"


def build_custom(
    file: str, input_shape: tuple[int, ...], classes: int, task: str = "multiclass", *, normalize: bool = True
) -> Any:
    """The model that `build_model` of a Python file returns, checked before any training.

    The model must take float32 of shape (batch, *input_shape), scaled to about zero mean and unit variance, and return
    probabilities of shape (batch, classes). For `multiclass` they sum to one; for `multilabel`, and for `binary`, where
    `classes` is 1, each is a probability by itself. All layers must be Keras's own, so that `pocketlens export` can
    load the model without the file.

    Args:
        normalize: whether the input is scaled before the model takes it. A model that scales pixels itself needs False.

    Raises:
        TrainingError: no such file or function, an error in it, or a model that breaks these rules.
    """
    build = getattr(_module(file), _FUNCTION, None)
    if not callable(build):
        raise TrainingError(f"{file}: no function {_FUNCTION}(input_shape, classes)")
    try:
        model = build(input_shape, classes)
    except (Exception, SystemExit) as error:
        raise TrainingError(f"{file}: {_FUNCTION}({input_shape}, {classes}) raised {_describe(error)}") from error
    _check_kind(file, model)
    _check_probabilities(file, _sample_scores(file, model, input_shape, classes), task)
    if normalize and len(input_shape) == 3:
        _check_scaling(file, model)
    _check_saved(file, model)
    return model


def _module(file: str) -> Any:
    check_model_file(file)
    path = Path(file)
    specification = importlib.util.spec_from_file_location("own_model_file", path)
    if specification is None or specification.loader is None:
        raise TrainingError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look up a module's names here
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(specification.name, None)
        raise TrainingError(f"{file}: {_describe(error)}") from error
    return module


def _describe(error: BaseException) -> str:
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


def _sample_scores(file: str, model: Any, input_shape: tuple[int, ...], classes: int) -> npt.NDArray[np.float32]:
    """The model's scores for a few random inputs, shape (samples, classes)."""
    samples = random_inputs(input_shape)
    try:
        scores = np.asarray(model(samples))
    except Exception as error:
        raise TrainingError(f"{file}: the model does not take {input_shape}: {_describe(error)}") from error
    if scores.shape != (len(samples), classes):
        raise TrainingError(f"{file}: the model answers {scores.shape[1:]} values an image, expected ({classes},)")
    return scores


def _check_probabilities(file: str, scores: npt.NDArray[np.float32], task: str) -> None:
    wanted = "a softmax" if task == "multiclass" else "sigmoids" if task == "multilabel" else "one sigmoid"
    found = classify_outputs(scores, task)
    if found in (OutputKind.ALWAYS_ONE, OutputKind.SUM_TO_ONE):
        raise TrainingError(f"{file}: the model's answers sum to one; end it with {wanted}, for {task}")
    if found is not OutputKind.PROBABILITIES:
        raise TrainingError(f"{file}: the model's answers are no probabilities; end it with {wanted}, for {task}")


def _check_scaling(file: str, model: Any) -> None:
    scaling = find_input_scaling(model)
    if scaling is not None and scaling.takes_pixels:
        raise TrainingError(
            f"{file}: the model scales pixels of 0 to 255 itself ({scaling.layers}), and its input is scaled already; "
            "take these layers out, or give `scaling=none`"
        )


def _check_saved(file: str, model: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        registered = keras.saving.get_custom_objects()
        before = dict(registered)
        try:
            model.save(path)
            registered.clear()  # an export does not have the objects that the file registered
            keras.saving.load_model(path)
        except Exception as error:
            raise TrainingError(
                f"{file}: the model cannot be saved and loaded without this file: {_describe(error)}"
            ) from error
        finally:
            registered.update(before)
