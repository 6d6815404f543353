from __future__ import annotations

import numpy as np
import pytest

from trainer.config import ACTIVATIONS, TrainingConfig
from trainer.errors import TrainingError
from trainer.models.factory import build_model


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
        {"units": ()},
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
