"""What the outputs of a network are: by its last layer and by its scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from trainer.keras_inspection.outputs import OutputKind, classify_outputs, last_activation, random_inputs


def ending(*last: Callable[[Any], Any]) -> Any:
    inputs = keras.Input((4, 4, 1))
    x = layers.Flatten()(inputs)
    for layer in last:
        x = layer(x)
    return keras.Model(inputs, x)


def nested() -> Any:
    inputs = keras.Input((4, 4, 1))
    return keras.Model(inputs, layers.Reshape((3,))(ending(layers.Dense(3, activation="softmax"))(inputs)))


@pytest.mark.parametrize(
    ("build", "activation"),
    [
        (lambda: ending(layers.Dense(3)), "linear"),
        (lambda: ending(layers.Dense(3, activation="softmax"), layers.Dropout(0.5)), "softmax"),
        (lambda: ending(layers.Dense(3), layers.Softmax()), "softmax"),
        (lambda: ending(layers.Dense(1), keras.ops.sigmoid), "sigmoid"),
        (lambda: ending(layers.Dense(1), layers.Activation("sigmoid")), "sigmoid"),
        (lambda: ending(layers.Dense(3), layers.BatchNormalization()), ""),
        (nested, "softmax"),
    ],
)
def test_the_last_activation(build: Callable[[], Any], activation: str) -> None:
    assert last_activation(build()) == activation


@pytest.mark.parametrize(
    ("scores", "task", "activation", "kind"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], "multiclass", "", OutputKind.PROBABILITIES),
        ([[0.2, 0.8], [0.5, 0.5]], "multiclass", "linear", OutputKind.LOGITS),
        ([[-0.2, 1.2], [0.5, 0.5]], "multiclass", "", OutputKind.LOGITS),
        ([[0.2, 0.3], [0.5, 0.9]], "multiclass", "sigmoid", OutputKind.SEPARATE),
        ([[0.2], [0.7]], "binary", "sigmoid", OutputKind.PROBABILITIES),
        ([[1.0], [1.0]], "binary", "sigmoid", OutputKind.PROBABILITIES),
        ([[1.0], [0.99999994]], "binary", "", OutputKind.ALWAYS_ONE),
        ([[0.4], [3.0]], "binary", "", OutputKind.LOGITS),
        ([[0.2, 0.8], [0.4, 0.6]], "multilabel", "", OutputKind.SUM_TO_ONE),
        ([[np.nan, 0.8]], "multiclass", "softmax", OutputKind.NOT_FINITE),
    ],
)
def test_what_scores_are(scores: list[list[float]], task: str, activation: str, kind: OutputKind) -> None:
    assert classify_outputs(np.array(scores, np.float32), task, activation) is kind


def test_random_inputs_come_with_their_opposites() -> None:
    inputs = random_inputs((4, 4, 1))
    assert np.array_equal(inputs[: len(inputs) // 2], -inputs[len(inputs) // 2 :])
    assert np.array_equal(inputs, random_inputs((4, 4, 1)))
