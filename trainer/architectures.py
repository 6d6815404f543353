"""The networks: plain layers that quantize well (convolutions whose batch normalization folds away, ReLU)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from .bodies import BODIES
from .errors import TrainingError
from .own_model import build_own
from .pretrained import build_pretrained
from .spec import OWN, TrainingSpec
from .tasks import output_layer, outputs

#: Keras's 0.99 needs thousands of steps to settle, more than a small data set has.
_BATCH_NORM_MOMENTUM = 0.9


@dataclass(frozen=True)
class _Widths:
    """Filters of the three stages of `cnn`, and the residual blocks of the second and the third."""

    stem: int
    middle: int
    last: int
    middle_blocks: int
    last_blocks: int


_WIDTHS = {
    "tiny": _Widths(16, 24, 32, 0, 1),
    "small": _Widths(32, 40, 52, 0, 1),
    "base": _Widths(40, 56, 88, 1, 1),
    "large": _Widths(64, 96, 128, 1, 2),
}


def build_model(spec: TrainingSpec, input_shape: tuple[int, ...], classes: int, task: str = "multiclass") -> Any:
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
        return build_own(str(spec.model_file), input_shape, outputs(classes, task), task)
    if len(input_shape) == 1 and spec.architecture != "dense":
        raise TrainingError(f"{spec.architecture} is for images, and these are vectors of features; use --arch dense")
    if spec.architecture in BODIES:
        return build_pretrained(spec, input_shape, output_layer(classes, task))
    if spec.architecture == "cnn":
        return _cnn(input_shape, output_layer(classes, task), _WIDTHS[spec.size])
    return _dense(input_shape, output_layer(classes, task), spec.units, spec.activation)


def _dense(input_shape: tuple[int, ...], output: Any, units: Sequence[int], activation: str) -> Any:
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(inputs)
    for width in units:
        x = layers.Dense(width, activation=activation)(x)
    return keras.Model(inputs, output(x), name="dense")


def _cnn(input_shape: tuple[int, ...], output: Any, widths: _Widths) -> Any:
    """Convolutions, then residual blocks (K. He et al., arXiv:1512.03385) at the lowest resolution.

    The first convolution halves the picture where it has 16 rows or more: most of the work of a network lies
    in its first layers, and on small devices and two cores that is what decides the time. For a larger picture
    more are put in front, until 4 to 7 rows are left at the end.
    """
    height, width, _ = input_shape
    if min(height, width) < 8 or max(height, width) > 224:
        raise TrainingError(f"cnn: input of {height}x{width}, expected 8x8 to 224x224; see --image-size")
    inputs = keras.Input(input_shape)
    side = min(height, width)
    large = side >= 16
    x = _convolution(inputs, widths.stem, kernel=5 if large else 3, strides=2 if large else 1)
    side = -(-side // 2) if large else side
    while side > 16:
        x = _convolution(x, widths.stem, kernel=3)
        x = layers.MaxPooling2D(padding="same")(x)
        side = -(-side // 2)
    x = _convolution(x, widths.middle, kernel=3)
    for _ in range(widths.middle_blocks):
        x = _residual(x)
    x = layers.MaxPooling2D(padding="same")(x)
    x = _convolution(x, widths.last, kernel=3)
    for _ in range(widths.last_blocks):
        x = _residual(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, output(x), name="cnn")


def _residual(x: Any) -> Any:
    """Two convolutions whose result is added to what went in."""
    filters = x.shape[-1]
    y = _convolution(x, filters, kernel=3)
    y = _convolution(y, filters, kernel=3, relu=False)
    return layers.ReLU()(layers.Add()([x, y]))


def _convolution(x: Any, filters: int, *, kernel: int, strides: int = 1, relu: bool = True) -> Any:
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM)(x)
    return layers.ReLU()(x) if relu else x
