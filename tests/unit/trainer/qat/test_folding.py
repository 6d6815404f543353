"""Folding of batch normalization: the same scores, and the networks that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.qat_networks import ALL, SHAPE, residual
from trainer.errors import TrainingError
from trainer.qat.fine_tuning import check_simulable
from trainer.qat.folding import fold_batch_norm

pytestmark = pytest.mark.workstation


@pytest.mark.parametrize("network", ALL)
def test_a_folded_network_gives_the_same_answers(network: Callable[[], Any], tmp_path: Path) -> None:
    model = network()
    pictures = np.random.default_rng(0).normal(size=(64, *SHAPE)).astype(np.float32)
    before = model.predict(pictures, verbose=0)
    folded = fold_batch_norm(model)
    np.testing.assert_allclose(folded.predict(pictures, verbose=0), before, atol=2e-5)
    np.testing.assert_array_equal(model.predict(pictures, verbose=0), before)
    assert not any(isinstance(layer, layers.BatchNormalization | keras.Model) for layer in folded.layers)
    folded.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(pictures, verbose=0), folded.predict(pictures, verbose=0))


def test_a_folded_network_can_be_trained_whole_and_keeps_its_layers_names() -> None:
    model = residual()
    model.trainable = False
    folded = fold_batch_norm(model)
    assert len(folded.trainable_weights) == len(folded.weights) > 0
    kept = {layer.name for layer in model.layers if isinstance(layer, layers.Conv2D | layers.Dense)}
    assert kept <= {layer.name for layer in folded.layers}
    assert all(layer.compute_dtype == "float32" for layer in folded.layers)


def _with(build: Callable[[Any], Any]) -> Any:
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(build(inputs))))


def _twice(x: Any) -> Any:
    layer = layers.Conv2D(3, 3, padding="same", name="again")
    return layer(layer(x))


def _read_elsewhere(x: Any) -> Any:
    y = layers.Conv2D(2, 3, padding="same")(x)
    return layers.Add()([layers.BatchNormalization(name="late")(y), y])


class OwnConvolution(layers.Conv2D):  # type: ignore[misc]
    """Whatever a subclass computes is not known."""


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda x: layers.LayerNormalization(name="middle")(x), r"'middle' \(LayerNormalization\)"),
        (lambda x: layers.SeparableConv2D(2, 3, name="pair")(x), r"'pair' \(SeparableConv2D\)"),
        (lambda x: layers.Conv2D(2, 3, activation="gelu", name="curve")(x), "'curve' .* 'gelu'"),
        (lambda x: layers.ReLU(4.0, name="low")(x), "'low' .* activation"),
        (lambda x: layers.ReLU(negative_slope=0.1, name="leak")(x), "'leak' .* activation"),
        (lambda x: layers.Conv2D(3, 3, groups=3, name="split")(x), "'split' .* groups"),
        (lambda x: OwnConvolution(2, 3, name="mine")(x), r"'mine' \(OwnConvolution\)"),
        (lambda x: layers.BatchNormalization(name="first")(x), "'first' .* cannot be folded"),
        (lambda x: layers.BatchNormalization(name="n")(layers.Conv2D(2, 3, activation="relu")(x)), "'n' .* folded"),
        (lambda x: layers.BatchNormalization(axis=1, name="rows")(layers.Conv2D(2, 3)(x)), "'rows' .* folded"),
        (_read_elsewhere, "'late' .* folded"),
        (_twice, "'again' is used twice"),
        (lambda x: x * 2, "'multiply.*Multiply"),
    ],
)
def test_what_cannot_be_simulated_is_named_in_one_line(build: Callable[[Any], Any], told: str) -> None:
    with pytest.raises(TrainingError, match=told) as caught:
        check_simulable(_with(build))
    assert "\n" not in str(caught.value)


def test_a_model_of_several_inputs_or_a_class_is_refused() -> None:
    one, other = keras.Input(SHAPE), keras.Input(SHAPE)
    with pytest.raises(TrainingError, match="one input and one output"):
        check_simulable(keras.Model([one, other], layers.Add()([one, other])))

    class Subclass(keras.Model):  # type: ignore[misc]
        pass

    with pytest.raises(TrainingError, match="no graph of layers"):
        check_simulable(Subclass(name="subclass"))
