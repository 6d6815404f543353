"""What the task decides in a training: the output layer, the loss and its targets, and the figures that Keras tells."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

#: The mean of the classes' recalls: accuracy, weighed so that each class counts the same.
BALANCED_ACCURACY = "balanced_accuracy"
_MONITORS = {"multiclass": "accuracy", "binary": "accuracy", "multilabel": "mean_average_precision"}


def monitored(task: str, balance: bool) -> str:
    """The figure by which the best epoch is chosen, on the validation split; the higher the better.

    Mean average precision counts each label the same by itself.
    """
    return BALANCED_ACCURACY if balance and task != "multilabel" else _MONITORS[task]


def outputs(labels: int, task: str) -> int:
    """How many numbers a network answers with: for `binary` one, the probability of the second label."""
    return 1 if task == "binary" else labels


def output_layer(labels: int, task: str) -> Any:
    """The last layer: a softmax for `multiclass`, else sigmoids."""
    activation = "softmax" if task == "multiclass" else "sigmoid"
    return keras.layers.Dense(outputs(labels, task), activation=activation)


def targets_and_loss(
    targets: npt.NDArray[Any], labels: int, task: str, label_smoothing: float
) -> tuple[npt.NDArray[Any], Any]:
    """What the loss takes of each picture, and the loss.

    Args:
        targets: of a `Dataset`.
        labels: how many there are.
        label_smoothing: 0 to below 1, spread over all classes, or over yes and no of each label.

    Returns:
        int32 of shape (n,) for sparse categorical cross-entropy; float32 of shape (n, classes) for categorical
        cross-entropy, where labels are smoothed; float32 of shape (n, outputs) for binary cross-entropy.
    """
    if task != "multiclass":
        loss = keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
        return targets.reshape(len(targets), outputs(labels, task)).astype(np.float32), loss
    if label_smoothing:
        one_hot = np.eye(labels, dtype=np.float32)[targets]
        return one_hot, keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    return targets, keras.losses.SparseCategoricalCrossentropy()


def keras_metrics(labels: int, task: str) -> list[Any]:
    """New metrics for `compile`; `accuracy` is always among them, of `multilabel` the share of right yes and no.

    `mean_average_precision` is what Keras takes for it: the area under the curve at 200 thresholds.
    """
    if task == "multiclass":
        return ["accuracy"]
    accuracy = keras.metrics.BinaryAccuracy(name="accuracy")
    if task == "binary":
        return [accuracy, keras.metrics.AUC(name="roc_auc")]
    area = keras.metrics.AUC(curve="PR", multi_label=True, num_labels=labels, name=_MONITORS[task])
    return [accuracy, area]


def balanced_accuracy(task: str, *, one_hot: bool) -> Any:
    """A new metric for `weighted_metrics` of `compile`, with the weights of `balance.picture_weights`.

    Args:
        one_hot: whether the targets of `multiclass` are.
    """
    if task == "binary":
        return keras.metrics.BinaryAccuracy(name=BALANCED_ACCURACY)
    kind = keras.metrics.CategoricalAccuracy if one_hot else keras.metrics.SparseCategoricalAccuracy
    return kind(name=BALANCED_ACCURACY)
