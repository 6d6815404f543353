"""Class balance: each class counts the same in the loss, however many images it has."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from ..data.sources import Indices


def image_weights(targets: npt.NDArray[Any], split: Indices) -> npt.NDArray[np.float32]:
    """The weight of each image: n / (classes x images of its class in the split).

    Args:
        targets: int32, shape (n,).
        split: indices of a split that has every class.

    Returns:
        Shape (n,), with mean 1 over the split.
    """
    counts = np.bincount(targets[split])
    weights: npt.NDArray[np.float32] = (len(split) / (len(counts) * counts)).astype(np.float32)[targets]
    return weights


def effective_sample_size(targets: npt.NDArray[Any], split: Indices) -> float:
    """The number of images whose plain accuracy has the standard error of this split's balanced accuracy.

    Balanced accuracy is a mean of recalls, and its error comes from the rare classes.
    """
    counts = np.bincount(targets[split])
    return float(len(counts) ** 2 / (1 / counts).sum())


def label_weights(targets: npt.NDArray[Any], train: Indices) -> npt.NDArray[np.float32]:
    """Weights that let the presence of each label count as much as its absence.

    Args:
        targets: 0 or 1, shape (n, labels).

    Returns:
        Shape (2, labels): the weight of an image without the label, and of one with it.
    """
    with_label = targets[train].sum(axis=0, dtype=np.int64)
    counts = np.maximum(1, np.stack([len(train) - with_label, with_label]))
    weights: npt.NDArray[np.float32] = (len(train) / (2 * counts)).astype(np.float32)
    return weights


class BalancedBinaryCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Binary cross-entropy with a weight for the presence, and one for the absence, of each label.

    Args:
        weights: from `label_weights`.
        label_smoothing: 0 to below 1, spread over presence and absence.
    """

    def __init__(self, weights: npt.NDArray[np.float32], label_smoothing: float = 0.0) -> None:
        super().__init__(name="balanced_binary_crossentropy")
        self._without, self._with = weights
        self._label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over the labels, shape (batch,), for targets and probabilities of shape (batch, labels)."""
        weights = y_true * self._with + (1 - y_true) * self._without
        smoothed = y_true * (1 - self._label_smoothing) + 0.5 * self._label_smoothing
        return ops.mean(weights * ops.binary_crossentropy(smoothed, y_pred), axis=-1)
