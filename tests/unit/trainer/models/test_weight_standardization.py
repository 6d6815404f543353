"""Convolutions with standardized kernels, and the plain convolutions that replace them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from trainer.models.weight_standardization import StandardizedConv2D, to_plain_convolutions


def _network() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 2))
    x = StandardizedConv2D(4, 3, strides=2, padding="same", name="first")(inputs)
    x = keras.layers.ReLU()(x)
    y = StandardizedConv2D(4, 3, padding="same", use_bias=False, name="second")(x)
    x = keras.layers.Add()([x, y])
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x), name="network")


def test_filters_have_mean_zero_and_the_norm_of_their_gain() -> None:
    layer = _network().get_layer("first")
    layer.gain.assign([1.0, 2.0, 0.5, 0.0])
    kernel = np.asarray(layer.standardized_kernel()).reshape(-1, 4)
    np.testing.assert_allclose(kernel.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), np.sqrt(2) * np.array([1, 2, 0.5, 0]), rtol=1e-3)


def test_a_filter_of_equal_weights_is_no_division_by_zero() -> None:
    layer = _network().get_layer("first")
    layer.kernel.assign(np.ones(layer.kernel.shape, np.float32))
    assert np.abs(np.asarray(layer.standardized_kernel())).max() < 1e-4


def test_the_folded_model_answers_the_same_with_layers_that_everybody_has(tmp_path: Path) -> None:
    model = _network()
    for layer in model.layers:
        layer.set_weights([w + 0.1 * np.random.default_rng(0).standard_normal(w.shape) for w in layer.get_weights()])
    folded = to_plain_convolutions(model)
    images = np.random.default_rng(1).standard_normal((5, 8, 8, 2)).astype(np.float32)
    np.testing.assert_allclose(folded.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)
    assert {type(layer).__module__.partition(".")[0] for layer in folded.layers} == {"keras"}
    assert [layer.name for layer in folded.layers[1:]] == [layer.name for layer in model.layers[1:]]
    folded.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), folded.predict(images, verbose=0))


def test_a_model_without_them_stays_as_it_is() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    assert to_plain_convolutions(model) is model


def test_the_scale_of_the_weights_does_not_matter() -> None:
    layer = _network().get_layer("first")
    layer.kernel.assign(layer.kernel * 10)
    before = np.asarray(layer.standardized_kernel())
    layer.kernel.assign(layer.kernel * 100)
    np.testing.assert_allclose(np.asarray(layer.standardized_kernel()), before, atol=1e-5)
