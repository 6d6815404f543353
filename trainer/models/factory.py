"""The networks: layers that quantize well (convolutions that fold to plain ones, ReLU)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

from ..config import OWN, TrainingConfig
from ..errors import TrainingError
from ..tasks import output_layer, outputs
from .backbones import BACKBONES
from .custom import build_custom
from .pretrained import build_pretrained
from .weight_standardization import StandardizedConv2D


class _Stages(NamedTuple):
    """Filters of the three stages of `cnn`, and the residual blocks of each."""

    first: int
    second: int
    third: int
    blocks: int


_SIZES = {
    "tiny": _Stages(8, 16, 32, 1),
    "small": _Stages(16, 28, 48, 1),
    "base": _Stages(16, 36, 70, 2),
    "large": _Stages(32, 64, 128, 2),
}
#: Rows at which the first stage works: larger pictures are halved before, since a first layer costs most of all.
_STEM_SIDE = 32


def build_model(spec: TrainingConfig, input_shape: tuple[int, ...], classes: int, task: str = "multiclass") -> Any:
    """An untrained Keras model from scaled pixels to probabilities.

    Args:
        spec: its architecture, and what belongs to it.
        input_shape: (height, width, channels), 8x8 to 224x224 for `cnn`, 32x32 or more for a body; or (features,).
        classes: labels of the data set.
        task: of the data set; see `tasks.output_layer`.

    Raises:
        TrainingError: a picture's size that the architecture does not suit, or a person's own file that gives no
            such model.
    """
    if spec.architecture == OWN:
        return build_custom(str(spec.model_file), input_shape, outputs(classes, task), task)
    if len(input_shape) == 1 and spec.architecture != "dense":
        raise TrainingError(f"{spec.architecture} is for images, and these are vectors of features; use --arch dense")
    if spec.architecture in BACKBONES:
        return build_pretrained(spec, input_shape, output_layer(classes, task))
    if spec.architecture == "cnn":
        return _cnn(input_shape, output_layer(classes, task), _SIZES[spec.size])
    return _dense(input_shape, output_layer(classes, task), spec.units, spec.activation)


def _dense(input_shape: tuple[int, ...], output: Any, units: Sequence[int], activation: str) -> Any:
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(inputs)
    for width in units:
        x = layers.Dense(width, activation=activation)(x)
    return keras.Model(inputs, output(x), name="dense")


def _cnn(input_shape: tuple[int, ...], output: Any, stages: _Stages) -> Any:
    """Three stages of residual blocks (K. He et al., arXiv:1512.03385), each at half the rows of the last.

    The first stage sees every pixel of a picture of up to 32 rows: on 28x28 that is worth more than what its time would
    pay for elsewhere. A larger picture is halved before it, by convolutions, until it has no more rows.
    """
    height, width, _ = input_shape
    if min(height, width) < 8 or max(height, width) > 224:
        raise TrainingError(f"cnn: input of {height}x{width}, expected 8x8 to 224x224; see --image-size")
    inputs = keras.Input(input_shape)
    side = min(height, width)
    halve = side > _STEM_SIDE
    x = _convolution(inputs, stages.first, kernel=5 if halve else 3, strides=2 if halve else 1)
    side = -(-side // 2) if halve else side
    while side > _STEM_SIDE:
        x = layers.MaxPooling2D(padding="same")(_convolution(x, stages.first, kernel=3))
        side = -(-side // 2)
    x = _blocks(x, stages.blocks)
    if side >= 16:
        x = layers.MaxPooling2D(padding="same")(x)
    x = _blocks(_convolution(x, stages.second, kernel=3), stages.blocks)
    x = layers.MaxPooling2D(padding="same")(x)
    x = _blocks(_convolution(x, stages.third, kernel=3), stages.blocks)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, output(x), name="cnn")


def _blocks(x: Any, count: int) -> Any:
    """Residual blocks: of each two convolutions, the result is added to what went in."""
    filters = x.shape[-1]
    for _ in range(count):
        y = _convolution(_convolution(x, filters, kernel=3), filters, kernel=3, relu=False)
        x = layers.ReLU()(layers.Add()([x, y]))
    return x


def _convolution(x: Any, filters: int, *, kernel: int, strides: int = 1, relu: bool = True) -> Any:
    x = StandardizedConv2D(filters, kernel, strides=strides, padding="same")(x)
    return layers.ReLU()(x) if relu else x
