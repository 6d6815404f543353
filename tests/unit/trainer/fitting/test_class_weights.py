"""Class balance: the weight of each class, and of each label, in the loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from runtime import Preprocessor
from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.data.dataset import Dataset
from trainer.data.sources import ArraySource
from trainer.evaluation.metrics import compute_metrics
from trainer.fitting.class_weights import (
    BalancedBinaryCrossentropy,
    effective_sample_size,
    image_weights,
    label_weights,
)
from trainer.training import train


def blurred(targets: npt.NDArray[Any], labels: tuple[str, ...], task: str) -> Dataset:
    """Noise, each label a little brighter in rows of its own."""
    rng = np.random.default_rng(0)
    marks = targets if targets.ndim == 2 else targets[:, None]
    bright = np.repeat(marks, 8 // marks.shape[1], axis=1)[:, :, None]
    images = np.clip(rng.normal(110 + 6 * bright, 50, (len(targets), 8, 8)), 0, 255).astype(np.uint8)
    digits = load_dataset("digits", Geometry())
    return Dataset("blurred", labels, digits.input, images[..., None], targets, ArraySource(images), task=task)


def test_balanced_weights_let_each_class_count_the_same() -> None:
    targets = np.array([0] * 8 + [1] * 2 + [0], np.int32)
    train_split = np.arange(10)
    weights = image_weights(targets, train_split)
    assert (weights.dtype, weights.shape) == (np.float32, (11,))
    assert weights[train_split][:8].sum() == pytest.approx(weights[train_split][8:].sum())
    assert weights[train_split].sum() == pytest.approx(10)


def test_balanced_labels_let_presence_count_as_much_as_absence() -> None:
    targets = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1], [1, 1, 1]], np.uint8)
    train_split = np.arange(4)
    weights = label_weights(targets, train_split)
    np.testing.assert_allclose(weights, np.array([[4 / 6, 0.5, 1], [2, 2, 1]]))
    there = targets[train_split]
    counted = np.where(there, weights[1], weights[0]).sum(axis=0)
    np.testing.assert_allclose(counted[[0, 2]], 4)
    with_it = (there * weights[1]).sum(axis=0)
    np.testing.assert_allclose(with_it[[0, 2]], 2)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_balanced_loss_is_a_weighted_mean_of_kerass_own(label_smoothing: float) -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((50, 3)) < (0.5, 0.2, 0.05)).astype(np.float32)
    answers = rng.uniform(0.01, 0.99, (50, 3)).astype(np.float32)
    weights = label_weights(targets, np.arange(50))
    keras_own = keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing, reduction=None)
    each = np.stack([keras_own(targets[:, i : i + 1], answers[:, i : i + 1]) for i in range(3)], axis=1)
    wanted = np.mean(each * np.where(targets, weights[1], weights[0]))
    balanced = BalancedBinaryCrossentropy(weights, label_smoothing)
    assert float(balanced(targets, answers)) == pytest.approx(wanted, rel=1e-5)
    even = BalancedBinaryCrossentropy(np.ones((2, 3), np.float32), label_smoothing)
    assert float(even(targets, answers)) == pytest.approx(each.mean(), rel=1e-5)


def test_the_best_epoch_is_chosen_by_the_mean_of_the_recalls() -> None:
    """On a validation split whose shares are its own; after three epochs, which leave answers of either kind."""
    targets = np.repeat(np.arange(3, dtype=np.int32), (300, 60, 30))
    data = blurred(np.minimum(targets, 1), ("a", "b"), "multiclass")
    data = replace(data, targets=targets, labels=("a", "b", "c"))
    for label_smoothing in (0.0, 0.05):
        config = TrainingConfig("dense", units=(4,), epochs=3, balance=True, label_smoothing=label_smoothing)
        run = train(data, config)
        chosen = run.splits.validation
        scores = run.model.predict(Preprocessor(run.contract.image_input).scale(data.pixels[chosen]), verbose=0)
        figures = compute_metrics(scores, targets[chosen], data.labels, "multiclass")
        kept = run.history[run.best_epoch - 1]
        recall = np.mean([row["recall"] for row in figures.per_class.values()])
        assert kept["val_balanced_accuracy"] == pytest.approx(recall, abs=1e-5)
        assert kept["val_accuracy"] == pytest.approx(figures.accuracy, abs=1e-5)
        assert kept["val_accuracy"] != pytest.approx(recall, abs=1e-3)


def test_rare_classes_say_how_much_a_split_is_effective_sample_size() -> None:
    even = np.repeat(np.arange(4), 25)
    assert effective_sample_size(even, np.arange(100)) == pytest.approx(100)
    rare = np.repeat(np.arange(2), (143, 7))
    recalls = np.array([0.9, 0.9])
    error = np.sqrt((recalls * (1 - recalls) / (143, 7)).sum()) / 2  # of the mean of two recalls
    assert np.sqrt(0.9 * 0.1 / effective_sample_size(rare, np.arange(150))) == pytest.approx(error)


def recalls(targets: npt.NDArray[Any], labels: tuple[str, ...], task: str) -> list[float]:
    """Of the last label, without balance and with it."""
    data = blurred(targets, labels, task)
    config = TrainingConfig("dense", units=(4,), epochs=3, learning_rate=0.01, weight_decay=0.5)
    found = [train(data, replace(config, balance=balance)).metrics for balance in (False, True)]
    return [float(metrics.per_class[labels[-1]]["recall"]) for metrics in found]


def test_balance_finds_the_rare_class() -> None:
    """Two blurred classes, one eighteen times as frequent: left alone, a network answers the frequent one."""
    targets = np.repeat(np.arange(2, dtype=np.int32), (1800, 100))
    without, balanced = recalls(targets, ("often", "seldom"), "multiclass")
    assert balanced > without + 0.3


def test_balance_finds_the_rare_label() -> None:
    targets = (np.random.default_rng(1).random((1900, 2)) < (0.5, 0.06)).astype(np.uint8)
    without, balanced = recalls(targets, ("often", "seldom"), "multilabel")
    assert balanced > without + 0.3
