"""The networks: their shapes and sizes, and a trained model without its compile state."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from trainer.config import ACTIVATIONS, TrainingConfig
from trainer.errors import TrainingError
from trainer.models.factory import build_model, strip_compile_state


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 13, 3), (28, 28, 1), (32, 48, 3), (96, 96, 3), (224, 224, 3)])
def test_cnn_suits_its_input(shape: tuple[int, int, int]) -> None:
    model = build_model(TrainingConfig("cnn"), shape, 7)
    scores = np.asarray(model(np.zeros((2, *shape), np.float32)))
    assert scores.shape == (2, 7)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert model.count_params() < 140_000


@pytest.mark.parametrize("shape", [(7, 8, 1), (225, 100, 3)])
def test_cnn_names_a_size_beyond_its_range(shape: tuple[int, int, int]) -> None:
    with pytest.raises(TrainingError, match="`image_size`"):
        build_model(TrainingConfig("cnn"), shape, 2)


def test_widths_and_blocks_stand_before_those_of_the_size() -> None:
    def parameters(**settings: Any) -> int:
        return int(build_model(TrainingConfig("cnn", **settings), (28, 28, 1), 10).count_params())

    assert parameters(size="large", widths=(8, 16, 32), blocks=1) == parameters(size="tiny")
    assert parameters(widths=(4, 8, 16), blocks=0) < parameters(widths=(4, 8, 16)) < parameters(size="tiny")
    assert parameters(size="tiny", blocks=2) > parameters(size="tiny")


@pytest.mark.parametrize(
    "settings",
    [
        {"widths": (8, 16)},
        {"widths": (8, 16, 0)},
        {"widths": (8, 16, 513)},
        {"widths": (8, 16, 1.5)},
        {"widths": "8,16,32"},
        {"blocks": 9},
        {"blocks": 1.0},
        {"architecture": "dense", "blocks": 1},
        {"architecture": "dense", "widths": (8, 16, 32)},
    ],
)
def test_widths_and_blocks_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=r"widths|blocks"):
        TrainingConfig(**settings)


def test_dense_has_the_layers_that_are_asked_for() -> None:
    model = build_model(TrainingConfig("dense", units=(128,)), (28, 28, 1), 10)
    assert model.count_params() == 784 * 128 + 128 + 128 * 10 + 10
    model = build_model(TrainingConfig("dense", units=(4, 4)), (28, 28, 1), 10)
    assert model.count_params() == 784 * 4 + 4 + 4 * 4 + 4 + 4 * 10 + 10


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_builds(activation: str) -> None:
    model = build_model(TrainingConfig("dense", activation=activation), (8, 8, 1), 3)
    assert model.layers[2].activation.__name__ == activation


@pytest.mark.parametrize(
    "settings",
    [
        {"architecture": "rnn"},
        {"units": (0,)},
        {"units": (10**6,)},
        {"activation": "exec"},
        {"optimizer": "magic"},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"epochs": 0},
        {"batch_size": 0},
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, object]) -> None:
    with pytest.raises(TrainingError, match="expected"):
        TrainingConfig(**settings)  # type: ignore[arg-type]


def nested() -> Any:
    """A network in a network, a layer called twice, and a normalization that is frozen."""
    inside = keras.Sequential([keras.Input((6,)), layers.Dense(5), layers.BatchNormalization()], name="inside")
    inside.layers[1].trainable = False
    inputs = keras.Input((6,))
    twice = layers.Dense(6)
    merged = layers.Add()([inside(twice(inputs)), inside(twice(twice(inputs)))])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(merged), name="outer")


def plain() -> Any:
    """Layers one after the other."""
    return keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(3)])


@pytest.mark.parametrize("build", [nested, plain])
def test_the_same_answers_from_a_smaller_file(build: Any, tmp_path: Path) -> None:
    model = build()
    x = np.random.default_rng(0).standard_normal((64, 6)).astype(np.float32)
    model.compile("adamw", "mse")
    model.fit(x, np.zeros((64, 3), np.float32), epochs=2, verbose=0)
    result = strip_compile_state(model)
    assert (type(result), result.name) == (type(model), model.name)
    np.testing.assert_array_equal(model.predict(x, verbose=0), result.predict(x, verbose=0))
    assert [weight.trainable for weight in result.weights] == [weight.trainable for weight in model.weights]
    model.save(tmp_path / "model.keras")
    result.save(tmp_path / "bare.keras")
    sizes = []
    for name in ("model.keras", "bare.keras"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            sizes.append(archive.getinfo("model.weights.h5").file_size)
            config = json.loads(archive.read("config.json"))
    assert sizes[1] < sizes[0]
    assert not config.get("compile_config")
    loaded = keras.saving.load_model(tmp_path / "bare.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), result.predict(x, verbose=0))
