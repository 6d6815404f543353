"""Small networks with every layer that is simulated, their weights and statistics random: nothing needs training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

SHAPE = (12, 12, 3)
#: A person's own network, in which channels of one activation are up to 1000 times as large as others.
UNEVEN = """
import keras
from keras import layers


def build_model(input_shape, classes):
    x = inputs = keras.Input(input_shape)
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(24, use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(keras.ops.logspace(0.0, 3.0, 24))
    return model
"""


def _normalised(x: Any, layer: Any, ceiling: float | None = None) -> Any:
    return layers.ReLU(ceiling)(layers.BatchNormalization()(layer(x)))


def residual() -> Any:
    """Two residual blocks, one with a shortcut of its own; as `cnn`, and a nested body."""
    inner = keras.Input(SHAPE)
    body = keras.Model(inner, _normalised(inner, layers.Conv2D(8, 3, padding="same", use_bias=False)), name="body")
    inputs = keras.Input(SHAPE)
    x = body(inputs)
    y = _normalised(x, layers.Conv2D(8, 3, padding="same"))
    y = layers.BatchNormalization(scale=False)(layers.Conv2D(8, 3, padding="same", use_bias=False)(y))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.MaxPooling2D(2)(x)
    y = layers.BatchNormalization(center=False)(layers.Conv2D(6, 1, strides=2)(x))
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2, padding="same")(x))
    x = layers.Add()([y, x])
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return _random(keras.Model(inputs, layers.Dense(5, activation="softmax")(x)))


def depthwise() -> Any:
    """Depthwise convolutions under ReLU6, both poolings, padding, and functions with grids of their own."""
    inputs = keras.Input(SHAPE)
    x = layers.ZeroPadding2D(1)(inputs)
    x = _normalised(x, layers.Conv2D(6, 3, use_bias=False), 6.0)
    x = _normalised(x, layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False), 6.0)
    x = layers.ReLU(6.0)(layers.MaxPooling2D(2)(_convolution(x, 8)))
    x = _convolution(layers.AveragePooling2D(2)(x), 8, activation="tanh")
    x = layers.Add()([x, _convolution(x, 8, activation="sigmoid", padding="same")])
    x = layers.Dense(7, activation="relu6")(layers.Flatten()(x))
    return _random(keras.Model(inputs, layers.Activation("softmax")(layers.Dense(5)(x))))


def dense() -> Any:
    """Layers in a row, a normalization behind a dense one, a sigmoid at the end."""
    rows: list[Any] = [keras.Input(SHAPE), layers.Flatten(), layers.Dense(9, activation="relu"), layers.Dense(6)]
    rows += [layers.BatchNormalization(), layers.Activation("relu"), layers.Dense(3, activation="sigmoid")]
    return _random(keras.Sequential(rows))


def _convolution(x: Any, filters: int, **settings: Any) -> Any:
    return layers.Conv2D(filters, 2, **settings)(x)


def _random(model: Any) -> Any:
    """With statistics and biases as a trained network has them."""
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.3, 3, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.3, weight.shape))
        elif weight.name == "kernel":
            reads = np.prod(weight.shape[:-2] if "depthwise" in weight.path else weight.shape[:-1])
            spread = rng.uniform(0.3, 1.5, weight.shape[-1:]) * np.sqrt(2 / reads)
            weight.assign(rng.normal(size=weight.shape) * spread)
    _spread_answers(model)
    return model


def _spread_answers(model: Any) -> None:
    """Give the logits zero mean and a standard deviation of 2, so that each answer is some picture's."""
    last = [layer for layer in model.layers if isinstance(layer, layers.Dense)][-1]
    pictures = np.random.default_rng(4).uniform(-1.7, 1.9, (64, 4, 4, SHAPE[2])).repeat(3, axis=1).repeat(3, axis=2)
    features = keras.Model(model.inputs, last.input).predict(pictures, verbose=0)
    logits = features @ np.asarray(last.kernel)
    last.kernel.assign(last.kernel * 2 / logits.std(axis=0))
    last.bias.assign(-2 * logits.mean(axis=0) / logits.std(axis=0))


ALL = (residual, depthwise, dense)
