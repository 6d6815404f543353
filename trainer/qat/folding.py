"""Folds batch normalization into the layer before it, as the converter does for an int8 file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from ..errors import TrainingError
from ..keras_inspection.graph import Call, classifier_calls, readers
from .operations import WEIGHTED, check_layer, function_name


def fold_batch_norm(model: Any) -> Any:
    """A plain functional Keras model with the same outputs and without batch normalization.

    Its layers are new, have the same names, and are float32 and trainable. Nested models are flattened.

    Args:
        model: a functional or sequential Keras model; it is not changed.

    Raises:
        TrainingError: a layer, or its use, cannot be simulated; the message names it.
    """
    network = classifier_calls(model)
    norms = _foldable(network)
    outputs: list[Any] = []
    copies: dict[int, Any] = {}
    for place, call in enumerate(network):
        if not call.inputs:
            outputs.append(keras.Input(call.layer.batch_shape[1:], name=call.layer.name))
        elif type(call.layer) is layers.BatchNormalization:
            outputs.append(outputs[call.inputs[0]])
        else:
            copy = copies.setdefault(id(call.layer), _copy_layer(call.layer, biased=place in norms))
            inputs = [outputs[i] for i in call.inputs]
            outputs.append(copy(inputs if len(inputs) > 1 else inputs[0]))
    for place, call in enumerate(network):
        if call.inputs and isinstance(call.layer, WEIGHTED):
            _set_weights(copies[id(call.layer)], call.layer, norms.get(place))
    return keras.Model(outputs[0], outputs[-1], name=model.name)


def _foldable(network: list[Call]) -> dict[int, Any]:
    """The batch normalization after each weighted layer, by the index of that layer's call."""
    count = readers(network)
    found: dict[int, Any] = {}
    uses: set[int] = set()
    for call in network[1:]:
        check_layer(call.layer)
        if getattr(call.layer, "weights", ()) and id(call.layer) in uses:
            raise TrainingError(f"quantization-aware: layer {call.layer.name!r} is used twice; give each use its own")
        uses.add(id(call.layer))
        if type(call.layer) is layers.BatchNormalization:
            before = network[call.inputs[0]].layer
            alone = isinstance(before, WEIGHTED) and count[call.inputs[0]] == 1 and function_name(before) == "linear"
            if not alone or call.layer.axis not in (-1, len(before.output.shape) - 1):
                raise TrainingError(
                    f"quantization-aware: layer {call.layer.name!r} (BatchNormalization) cannot be folded into a layer "
                    "before it; let it follow a convolution or a dense layer without an activation, over the channels"
                )
            found[call.inputs[0]] = call.layer
    return found


def _copy_layer(layer: Any, *, biased: bool) -> Any:
    config = layer.get_config() | {"dtype": "float32", "trainable": True}
    if biased:
        config["use_bias"] = True
    return type(layer).from_config(config)


def _set_weights(copy: Any, layer: Any, norm: Any) -> None:
    kernel = np.asarray(layer.kernel, np.float32)
    bias = np.asarray(layer.bias, np.float32) if layer.use_bias else np.zeros((), np.float32)
    if norm is not None:
        gain, offset = _gain_and_offset(norm)
        bias = (bias * gain + offset).astype(np.float32)
        shape = kernel.shape[-2:] if type(layer) is layers.DepthwiseConv2D else kernel.shape[-1:]
        kernel = kernel * gain.reshape(shape)
    copy.kernel.assign(kernel)
    if copy.use_bias:
        copy.bias.assign(bias)


def _gain_and_offset(norm: Any) -> Iterator[npt.NDArray[np.float32]]:
    """The factor and the summand of a frozen normalization, each float32 of shape (channels,)."""
    mean, variance = np.asarray(norm.moving_mean, np.float64), np.asarray(norm.moving_variance, np.float64)
    gain = (np.asarray(norm.gamma, np.float64) if norm.scale else 1) / np.sqrt(variance + norm.epsilon)
    offset = (np.asarray(norm.beta, np.float64) if norm.center else 0) - mean * gain
    return (values.astype(np.float32) for values in (gain, offset))
