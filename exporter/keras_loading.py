"""Keras models and SavedModels: loaded without running code from their files, and checked before conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from runtime import Contract
from runtime.files import shown
from trainer.keras_inspection.archive import load_keras_model

from .errors import ExportError
from .saved_model import load_saved_model

_CURE = "save it with model.save('model.keras')"
_INSTEAD = "use a layer of Keras, or a SavedModel"
#: Numbers above 65,504 are infinite in float16.
_HALF_CURE = "; in float16 alone numbers above 65,504 overflow: train in float32, or with the policy mixed_float16"


def load_model(path: Path, contract: Contract) -> Any:
    """The Keras model of a contract, rebuilt with a fixed batch of one image or vector.

    A dynamic batch gives a graph that some interpreters resize wrongly without an error.

    Raises:
        ExportError: the model cannot be loaded, is no classifier, or its shapes differ from the contract's.
    """
    spec = contract.input
    model = load_classifier(path, spec.kind)
    shapes = (tuple(model.input_shape[1:]), tuple(model.output_shape[1:]))
    wanted = (spec.shape, (contract.outputs,))
    if shapes != wanted:
        raise ExportError(
            f"{shown(path)}: input and output of shape {shapes}, its contract says {wanted} "
            f"({len(contract.labels)} labels)"
        )
    # Fixed names: Keras would number them, and the second export of a process would give other bytes.
    inputs = keras.Input(batch_shape=(1, *spec.shape), name=spec.kind)
    return keras.Model(inputs, model(inputs), name="classifier")


def load_classifier(path: Path, kind: str = "image") -> Any:
    """A `.keras` file or a SavedModel folder as a Keras model with one input and one vector of scores as output.

    Args:
        kind: the kind of its input: "image", or "features" for a vector.

    Raises:
        ExportError: the model cannot be loaded, carries code, or is not such a model.
    """
    if path.is_dir():
        model = load_saved_model(path)
    else:
        model = load_keras_model(path, ExportError, cure=_CURE, instead=_INSTEAD)
    _check(model, kind, shown(path))
    return _with_usual_shapes(model, kind)


def _with_usual_shapes(model: Any, kind: str) -> Any:
    """The model with a channel at its input, and with a vector of scores as output.

    Grey images of shape (height, width) and scores of shape (1, 1, classes) are usual too.
    """
    given, answer = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    has_channel, is_vector = len(given) == (4 if kind == "image" else 2), len(answer) == 2
    if has_channel and is_vector:
        return model
    # Fixed names, as in `load_model`.
    inputs = keras.Input(given[1:] if has_channel else (*given[1:], 1), name=kind)
    images = inputs if has_channel else keras.layers.Reshape(given[1:], name="without_channel")(inputs)
    scores = model(images)
    return keras.Model(inputs, scores if is_vector else keras.layers.Reshape((answer[-1],), name="scores")(scores))


def _check(model: Any, kind: str, name: str) -> None:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ExportError(
            f"{name}: {len(model.inputs)} inputs and {len(model.outputs)} outputs, expected 1 of each; "
            "export the part of it that classifies"
        )
    given, answer = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    if model.inputs[0].dtype == "string":
        raise ExportError(f"{name}: takes text (its input is a string); only images and vectors of numbers are taken")
    if kind == "features" and (len(given) != 2 or given[1] is None):
        raise ExportError(f"{name}: input of shape {given}, expected (batch, features)")
    if kind == "image" and (len(given) not in (3, 4) or None in given[1:]):
        raise ExportError(
            f"{name}: input of shape {given}, expected (batch, height, width, channels) with fixed height, width and "
            "channels: an interpreter runs a dynamic one at 1x1; build it with keras.Input((height, width, channels))"
        )
    if kind == "image" and given[3:] not in ((), (1,), (3,)):
        raise ExportError(
            f"{name}: input of {given[3]} channels, expected 1 (grey) or 3 (colour), last" + _channels_first_cure(given)
        )
    if len(answer) < 2 or answer[-1] is None or set(answer[1:-1]) - {1}:
        raise ExportError(f"{name}: output of shape {answer}, expected (batch, classes)")
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight)).all():
            where = getattr(weight, "path", weight.name)
            raise ExportError(f"{name}: weights of {where} are not numbers (NaN or infinite); train again{_HALF_CURE}")


def _channels_first_cure(given: tuple[int | None, ...]) -> str:
    """How to give images to a network that takes (channels, height, width); "" for another one."""
    _, channels, height, width = given
    if channels not in (1, 3):
        return ""
    return (
        f"; it seems to take them first: give it inside keras.Sequential([keras.Input(({height}, {width}, "
        f"{channels})), keras.layers.Permute((3, 1, 2)), model])"
    )
