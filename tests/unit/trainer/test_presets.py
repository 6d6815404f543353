"""Presets: the settings for everything that is not set; and the loss that follows from them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.errors import TrainingError
from trainer.presets import PRESETS, complete_config
from trainer.session import prepare_session

SUITS = ("shift", "flip")


def test_the_presets() -> None:
    fast = complete_config({"architecture": "cnn"}, "fast", 70_000, SUITS)
    best = complete_config({"architecture": "cnn", "epochs": None}, "best", 70_000, SUITS)
    assert fast.epochs < best.epochs
    assert 0 < fast.label_smoothing <= best.label_smoothing
    assert fast.augmentation == ("flip",), "few passes: where a picture lies is not yet learned by heart"
    assert best.augmentation == (*SUITS, "erase")
    assert complete_config({"architecture": "cnn"}, "fast", 1797, SUITS).augmentation == SUITS
    assert fast.optimizer == best.optimizer == "adamw"


def test_what_is_asked_for_is_taken() -> None:
    given = {
        "architecture": "cnn",
        "epochs": 3,
        "patience": 0,
        "label_smoothing": 0.0,
        "augmentation": (),
        "learning_rate": None,
    }
    config = complete_config(given, "best", 1000, SUITS)
    assert (config.epochs, config.patience, config.label_smoothing, config.augmentation) == (3, 0, 0.0, ())
    assert config.learning_rate == PRESETS["best"].cnn_learning_rate
    assert (
        complete_config(given | {"architecture": "dense"}, "best", 1000, SUITS).learning_rate
        == TrainingConfig.learning_rate
    )


def test_few_images_get_enough_steps() -> None:
    few = complete_config({"architecture": "cnn"}, "fast", 300, SUITS)
    assert few.batch_size == 32
    assert 500 <= few.epochs * np.ceil(0.72 * 300 / few.batch_size) < 600
    assert complete_config({"architecture": "cnn", "batch_size": 8}, "fast", 300, SUITS).batch_size == 8
    assert complete_config({"architecture": "cnn"}, "fast", 3, SUITS).epochs == 100


def test_dense_gets_neither_smoothing_nor_augmentation() -> None:
    config = complete_config({"architecture": "dense"}, "best", 1000, SUITS)
    assert config.label_smoothing == 0
    assert config.augmentation == ()


def test_a_set_that_suits_nothing_is_not_erased_either() -> None:
    assert complete_config({"architecture": "cnn"}, "best", 1000, ()).augmentation == ()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_label_smoothing_out_of_range_is_named(share: float) -> None:
    with pytest.raises(TrainingError, match="label smoothing"):
        complete_config({"architecture": "cnn", "label_smoothing": share}, "fast", 1000, ())


def test_label_smoothing_chooses_the_loss() -> None:
    data = load_dataset("digits", Geometry())
    plain = prepare_session(data, TrainingConfig("dense"))
    assert isinstance(plain.objective.compile_options["loss"], keras.losses.SparseCategoricalCrossentropy)
    assert plain.pipeline.targets.dtype == np.int32
    assert plain.pipeline.targets.shape == (1797,)
    smoothed = prepare_session(data, TrainingConfig("dense", label_smoothing=0.1))
    assert isinstance(smoothed.objective.compile_options["loss"], keras.losses.CategoricalCrossentropy)
    assert smoothed.objective.compile_options["loss"].label_smoothing == 0.1
    assert smoothed.pipeline.targets.shape == (1797, 10)
    np.testing.assert_array_equal(smoothed.pipeline.targets.argmax(axis=1), data.targets)


def test_a_network_with_published_weights_gets_few_passes_and_learns_whole() -> None:
    few = complete_config({"architecture": "efficientnet_lite0"}, "fast", 300, SUITS)
    assert (few.epochs, few.patience, few.fine_tune_layers, few.batch_size) == (40, 20, 1.0, 32)
    assert complete_config({"architecture": "efficientnet_lite0"}, "fast", 9000, SUITS).epochs == 10
    typed = complete_config({"architecture": "efficientnet_lite0", "epochs": 6, "fine_tune_layers": 0}, "fast", 300, ())
    assert (typed.epochs, typed.patience, typed.fine_tune_layers) == (6, 8, 0)
    untrained = complete_config({"architecture": "efficientnet_lite0", "weights": "none"}, "fast", 300, SUITS)
    assert (untrained.epochs, untrained.fine_tune_layers) == (72, 0.3)
    assert complete_config({"architecture": "mobilenet_v2"}, "fast", 300, SUITS).fine_tune_layers == 0.3
