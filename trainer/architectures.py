"""The networks: plain layers that quantize well (convolutions whose batch normalization folds away, ReLU)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from .errors import TrainingError

ARCHITECTURES = ("cnn", "dense")
#: The activations `--activation` offers: each has an int8 kernel in tflite-runtime 2.14.
ACTIVATIONS = ("relu", "relu6", "elu", "tanh", "sigmoid", "leaky_relu", "silu", "gelu")
MAX_UNITS = 8192
#: Keras's 0.99 needs thousands of steps to settle, more than a small data set has.
_BATCH_NORM_MOMENTUM = 0.9


def build_model(
    architecture: str,
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    units: Sequence[int] = (128,),
    activation: str = "relu",
) -> Any:
    """An untrained Keras model from scaled pixels to class probabilities.

    Args:
        architecture: `"cnn"` or `"dense"`.
        input_shape: (height, width, channels), 8x8 to 224x224 for `cnn`.
        classes: outputs, softmax.
        units: for `dense`, the width of each hidden layer.
        activation: for `dense`, of the hidden layers.

    Raises:
        TrainingError: an unknown architecture or activation, or sizes out of range.
    """
    if architecture == "cnn":
        return _cnn(input_shape, classes)
    if architecture == "dense":
        return _dense(input_shape, classes, units, activation)
    raise TrainingError(f"architecture {architecture!r}, expected one of {', '.join(ARCHITECTURES)}")


def _dense(input_shape: tuple[int, int, int], classes: int, units: Sequence[int], activation: str) -> Any:
    if not units or not all(1 <= n <= MAX_UNITS for n in units):
        raise TrainingError(f"units {list(units)}, expected one or more numbers from 1 to {MAX_UNITS}")
    if activation not in ACTIVATIONS:
        raise TrainingError(f"activation {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(inputs)
    for width in units:
        x = layers.Dense(width, activation=activation)(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x), name="dense")


def _cnn(input_shape: tuple[int, int, int], classes: int) -> Any:
    """Four convolutions on a small picture; on a larger one more are put in front until 4 to 7 rows are left.

    The first convolution halves the picture where it has 16 rows or more: most of the work of a network lies
    in its first layers, and on small devices and two cores that is what decides the time.
    """
    height, width, _ = input_shape
    if min(height, width) < 8 or max(height, width) > 224:
        raise TrainingError(f"cnn: input of {height}x{width}, expected 8x8 to 224x224; see --image-size")
    inputs = keras.Input(input_shape)
    side = min(height, width)
    large = side >= 16
    x = _convolution(inputs, 32, kernel=5 if large else 3, strides=2 if large else 1)
    side = -(-side // 2) if large else side
    while side > 16:
        x = _convolution(x, 32, kernel=3)
        x = layers.MaxPooling2D(padding="same")(x)
        side = -(-side // 2)
    x = _convolution(x, 48, kernel=3)
    x = layers.MaxPooling2D(padding="same")(x)
    x = _convolution(x, 64, kernel=3)
    x = _convolution(x, 64, kernel=3)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x), name="cnn")


def _convolution(x: Any, filters: int, *, kernel: int, strides: int = 1) -> Any:
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM)(x)
    return layers.ReLU()(x)
