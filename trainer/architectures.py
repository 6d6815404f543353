"""The networks: plain layers that quantize well (convolutions whose batch normalization folds away, ReLU)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from .errors import TrainingError
from .spec import TrainingSpec

#: Keras's 0.99 needs thousands of steps to settle, more than a small data set has.
_BATCH_NORM_MOMENTUM = 0.9


def build_model(spec: TrainingSpec, input_shape: tuple[int, int, int], classes: int) -> Any:
    """An untrained Keras model from scaled pixels to class probabilities.

    Args:
        spec: its architecture, units and activation.
        input_shape: (height, width, channels), 8x8 to 224x224 for `cnn`.
        classes: outputs, softmax.

    Raises:
        TrainingError: a picture's size that the architecture does not suit.
    """
    if spec.architecture == "cnn":
        return _cnn(input_shape, classes)
    return _dense(input_shape, classes, spec.units, spec.activation)


def _dense(input_shape: tuple[int, int, int], classes: int, units: Sequence[int], activation: str) -> Any:
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
