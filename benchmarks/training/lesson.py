"""The network of the lessons that this project grew from, trained in the same way: with Keras on arrays."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

EPOCHS, BATCH = 10, 32


def train(images: npt.NDArray[np.uint8], targets: npt.NDArray[np.int32], seed: int) -> keras.Model:
    """Flatten, Dense(128, relu), Dense(10, softmax); Adam at 1e-3, pixels / 255, ten epochs in batches of 32.

    Args:
        images: uint8, shape (n, 28, 28).
        targets: shape (n,).
    """
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images / 255.0, targets, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    return model


def accuracy(model: keras.Model, images: npt.NDArray[np.uint8], targets: npt.NDArray[np.int32]) -> float:
    """Share of correct predictions."""
    return float((model.predict(images / 255.0, verbose=0).argmax(axis=1) == targets).mean())
