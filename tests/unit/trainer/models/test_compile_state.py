"""A trained network without what trained it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from trainer.models.factory import strip_compile_state


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
