"""The layers that can be simulated, and what each computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from ..errors import TrainingError

#: Layers with a kernel. Its last axis, or the last two of a depthwise kernel, are the output's channels.
WEIGHTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
#: Layers whose output has the quantization of their input.
RANGE_KEEPING = (
    layers.AveragePooling2D,
    layers.Dropout,
    layers.Flatten,
    layers.MaxPooling2D,
    layers.Reshape,
    layers.SpatialDropout2D,
    layers.ZeroPadding2D,
)
#: Other layers, whose output has a quantization of its own.
_RANGE_SETTING = (layers.GlobalAveragePooling2D,)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    name: keras.activations.get(name) for name in ("linear", "relu", "relu6", "softmax", "sigmoid", "tanh")
}
#: Least and greatest value of an activation's output in every int8 file.
FIXED_RANGES = {"softmax": (0.0, 255 / 256), "sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
_SUPPORTED = (
    *WEIGHTED,
    *RANGE_KEEPING,
    *_RANGE_SETTING,
    layers.Activation,
    layers.Add,
    layers.BatchNormalization,
    layers.ReLU,
)
_CHANNELS_FIRST = "channels_first"


def check_layer(layer: Any) -> None:
    """Refuse a layer that the simulation does not support.

    Raises:
        TrainingError: it names the layer, its class, and the supported layers.
    """
    kind = type(layer).__name__
    if type(layer) not in _SUPPORTED:
        known = ", ".join(sorted(supported.__name__ for supported in _SUPPORTED))
        raise TrainingError(f"quantization-aware: layer {layer.name!r} ({kind}) cannot be simulated; known are {known}")
    if getattr(layer, "data_format", None) == _CHANNELS_FIRST or getattr(layer, "groups", 1) != 1:
        raise TrainingError(
            f"quantization-aware: layer {layer.name!r} ({kind}) has groups or its channels first; use neither"
        )
    if function_name(layer) not in FUNCTIONS:
        raise TrainingError(
            f"quantization-aware: layer {layer.name!r} ({kind}) has the activation {function_name(layer)!r}, "
            f"expected one of {', '.join(FUNCTIONS)}"
        )


def function_name(layer: Any) -> str:
    """The name of a layer's activation function, "linear" if it has none."""
    if isinstance(layer, layers.ReLU):
        ceiling = None if layer.max_value is None else float(layer.max_value)
        plain = not layer.negative_slope and not layer.threshold
        if plain and ceiling in (None, 6.0):
            return "relu" if ceiling is None else "relu6"
        return f"ReLU({ceiling=}, slope={layer.negative_slope}, threshold={layer.threshold})"
    function = getattr(layer, "activation", None)
    return "linear" if function is None else str(getattr(function, "__name__", function))


def compute_weighted(layer: Any, values: Any, kernel: Any) -> Any:
    """The output of a weighted layer before its activation, computed with another kernel."""
    if type(layer) is layers.Dense:
        output = keras.ops.matmul(values, kernel)
    else:
        operation = keras.ops.depthwise_conv if type(layer) is layers.DepthwiseConv2D else keras.ops.conv
        output = operation(
            values, kernel, strides=layer.strides, padding=layer.padding, dilation_rate=layer.dilation_rate
        )
    return output + layer.bias if layer.use_bias else output
