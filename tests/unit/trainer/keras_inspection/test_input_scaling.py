"""Scaling layers at the input of a network: what they say of the pixels that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from trainer.keras_inspection.input_scaling import find_input_scaling

APPLICATIONS = keras.applications


def network(*first: Callable[[Any], Any], channels: int = 3) -> Any:
    inputs = keras.Input((8, 8, channels))
    x = inputs
    for layer in first:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(layers.Conv2D(2, 3)(x))))


def nested(model: Any) -> Any:
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, model(layers.RandomFlip()(inputs)))


def sequential() -> Any:
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Conv2D(2, 3)])


@pytest.mark.parametrize(
    "build",
    [
        lambda: network(layers.Rescaling(1 / 255)),
        lambda: network(layers.Rescaling(1 / 127.5, offset=-1)),
        lambda: network(layers.RandomFlip(), layers.Rescaling(1 / 255)),
        lambda: network(layers.Normalization(mean=[120, 110, 100], variance=[3600] * 3)),
        lambda: network(layers.Rescaling(1 / 255), layers.Normalization(mean=[0.4] * 3, variance=[0.05] * 3)),
        lambda: network(APPLICATIONS.mobilenet_v2.preprocess_input),
        lambda: network(APPLICATIONS.densenet.preprocess_input),
        lambda: network(APPLICATIONS.resnet50.preprocess_input),
        lambda: network(lambda x: x / 255.0),
        lambda: nested(network(layers.Rescaling(1 / 255))),
        lambda: network(layers.Rescaling(1 / 255), channels=1),
        sequential,
    ],
)
def test_it_takes_plain_pixels(build: Callable[[], Any]) -> None:
    scaling = find_input_scaling(build())
    assert scaling is not None
    assert scaling.takes_pixels
    assert scaling.mean_and_std == (0.0, 1.0)
    assert scaling.fits((0.0,), (1.0,))
    assert not scaling.fits((0.0,), (255.0,))
    assert not scaling.fits((127.5,), (127.5,))


def test_it_takes_values_of_0_to_1() -> None:
    scaling = find_input_scaling(network(layers.Rescaling(2, offset=-1)))
    assert scaling is not None
    assert not scaling.takes_pixels
    assert scaling.fits((0.0,), (255.0,))
    assert scaling.fits((127.5,), (127.5,))
    assert not scaling.fits((0.0,), (1.0,))


@pytest.mark.parametrize(
    "build",
    [
        network,
        lambda: network(layers.Normalization(mean=[0.0] * 3, variance=[1.0] * 3)),
        lambda: network(layers.Conv2D(3, 1), layers.Rescaling(1 / 255)),
        lambda: network(layers.Activation("relu"), layers.Rescaling(1 / 255)),
    ],
)
def test_other_networks_say_nothing(build: Callable[[], Any]) -> None:
    assert find_input_scaling(build()) is None


def test_only_layers_in_front_of_the_first_that_computes_count() -> None:
    inputs = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 255, name="unit")(inputs)
    x = layers.Add()([x, layers.Conv2D(1, 3, padding="same")(x)])
    scaling = find_input_scaling(keras.Model(inputs, layers.Rescaling(7)(x)))
    assert scaling is not None
    assert scaling.layers == "Rescaling 'unit'"
    assert np.isclose(scaling.span, 1)
