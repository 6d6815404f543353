"""Compares `--schedule constant` with plain Keras at the lessons' settings on circles: 4-4, Adam 0.001, 100 epochs.

Both train on the same rows, in batches of 32, with the same seeds. Our mean test accuracy over five seeds must reach
that of Keras within two standard errors of the difference, on standardized rows and on rows as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np

from benchmarks.training.table import Row
from trainer import TrainingConfig, load_dataset, train
from trainer.data import Dataset
from trainer.data.splits import make_splits

SEEDS = range(5)
_RATE, _EPOCHS, _BATCH = 0.001, 100, 32


def rows(_rounds: int) -> Iterator[Row]:
    """Train both, standardized and not, once with each seed."""
    data = load_dataset("circles")
    for scaled in (True, False):
        ours = [our_accuracy(data, seed, scaled=scaled) for seed in SEEDS]
        theirs = [keras_accuracy(data, seed, scaled=scaled) for seed in SEEDS]
        deficit, allowed = float(np.mean(theirs) - np.mean(ours)), 2 * standard_error(ours, theirs)
        figures = {"ours (%)": 100 * float(np.mean(ours)), "Keras (%)": 100 * float(np.mean(theirs))}
        what = f"circles, 4-4, a constant rate, {'standardized' if scaled else 'as they are'}"
        yield Row(what, figures, deficit, f"<= {allowed:.3f} below Keras", deficit <= allowed)


def our_accuracy(data: Dataset, seed: int, *, scaled: bool, schedule: str = "constant") -> float:
    """Test accuracy of our training."""
    config = TrainingConfig(
        architecture="dense",
        units=(4, 4),
        optimizer="adam",
        learning_rate=_RATE,
        schedule=schedule,
        normalize=scaled,
        epochs=_EPOCHS,
        batch_size=_BATCH,
        seed=seed,
    )
    return train(data, config).metrics.accuracy


def keras_accuracy(data: Dataset, seed: int, *, scaled: bool) -> float:
    """Test accuracy of the lesson's program on the same rows."""
    splits = make_splits(data.targets, data.labels, data.given, seed)
    vectors = np.asarray(data.pixels)
    if scaled:
        vectors = (vectors - vectors[splits.train].mean(axis=0)) / vectors[splits.train].std(axis=0)
    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(4, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(_RATE), loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(vectors[splits.train], data.targets[splits.train], epochs=_EPOCHS, batch_size=_BATCH, verbose=0)
    return float(model.evaluate(vectors[splits.test], data.targets[splits.test], verbose=0)[1])


def standard_error(*samples: Sequence[float]) -> float:
    """The standard error of the difference of two means."""
    return float(np.sqrt(sum(np.var(values, ddof=1) / len(values) for values in samples)))
