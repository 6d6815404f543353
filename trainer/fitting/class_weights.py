"""`--balance`: each class counts the same in the loss, however many pictures it has."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from ..data.sources import Indices


def picture_weights(targets: npt.NDArray[Any], split: Indices) -> npt.NDArray[np.float32]:
    """What each picture counts: n / (classes x pictures of its class in the split).

    Args:
        targets: int32, shape (n,).
        split: every class is in it.

    Returns:
        Shape (n,), of mean 1 over the split.
    """
    counts = np.bincount(targets[split])
    weights: npt.NDArray[np.float32] = (len(split) / (len(counts) * counts)).astype(np.float32)[targets]
    return weights


def worth(targets: npt.NDArray[Any], split: Indices) -> float:
    """How many pictures would tell as much of plain accuracy as the split tells of balanced accuracy.

    Their standard errors are then alike: that of a mean of recalls comes from the rare classes.
    """
    counts = np.bincount(targets[split])
    return float(len(counts) ** 2 / (1 / counts).sum())


def label_weights(targets: npt.NDArray[Any], train: Indices) -> npt.NDArray[np.float32]:
    """The same of several labels, of which each is a question with two answers.

    Args:
        targets: 0 or 1, shape (n, labels).

    Returns:
        Shape (2, labels): what counts a picture without the label, and one with it.
    """
    there = targets[train].sum(axis=0, dtype=np.int64)
    counts = np.maximum(1, np.stack([len(train) - there, there]))
    weights: npt.NDArray[np.float32] = (len(train) / (2 * counts)).astype(np.float32)
    return weights


class BalancedBinaryCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Binary cross-entropy in which each answer of each label has a weight.

    Args:
        weights: of `label_weights`.
        label_smoothing: 0 to below 1, spread over yes and no.
    """

    def __init__(self, weights: npt.NDArray[np.float32], label_smoothing: float = 0.0) -> None:
        super().__init__(name="balanced_binary_crossentropy")
        self._without, self._with = weights
        self._label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Of targets and probabilities, shape (batch, labels), the mean over the labels, shape (batch,)."""
        weights = y_true * self._with + (1 - y_true) * self._without
        smoothed = y_true * (1 - self._label_smoothing) + 0.5 * self._label_smoothing
        return ops.mean(weights * ops.binary_crossentropy(smoothed, y_pred), axis=-1)
