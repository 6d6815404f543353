"""The objective of a training: the loss, its targets and weights, and the metrics that its epochs are judged by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ..config import FOCAL, SPARSE, TrainingConfig
from ..data import Dataset
from ..data.splits import Splits
from .class_weights import BalancedBinaryCrossentropy, effective_sample_size, image_weights, label_weights
from .distillation import with_soft_targets

#: The mean of the classes' recalls: accuracy weighted so that each class counts the same.
_BALANCED_ACCURACY = "balanced_accuracy"
_MONITORED = {"multiclass": "accuracy", "binary": "accuracy", "multilabel": "mean_average_precision"}


@dataclass(frozen=True)
class Objective:
    """The loss that a training minimizes, and the metrics that its epochs are judged by.

    Attributes:
        targets: the target of each image, as the loss takes it; see `targets_and_loss`.
        compile_options: arguments of `keras.Model.compile`: loss, metrics, and weighted_metrics where classes are
            balanced.
        monitor: the metric of the validation split by which the best epoch is chosen; higher is better.
        train_weights: float32, shape (n,): the weight of each image in the training loss.
        validation_weights: the same for validation; None where every image has weight 1.
        effective_images: how many images the monitored metric rests on; rare classes make it fewer than there are.
    """

    targets: npt.NDArray[Any]
    compile_options: dict[str, Any]
    monitor: str
    train_weights: npt.NDArray[np.float32]
    validation_weights: npt.NDArray[np.float32] | None
    effective_images: float

    def compile(self, model: Any, optimizer: Any, **options: Any) -> None:
        """Compile a model for this objective.

        The metrics are the same objects each time. Keras does not reset those that another compilation has used, and
        the next epoch would count the images of the last validation as well.
        """
        for metric in (*self.compile_options["metrics"], *self.compile_options.get("weighted_metrics", ())):
            metric.reset_state()
        model.compile(optimizer=optimizer, **self.compile_options, **options)


def make_objective(dataset: Dataset, splits: Splits, config: TrainingConfig) -> Objective:
    """The objective of a training, its classes or labels balanced if `config.balance` says so."""
    objective = _of_labels(dataset, splits, config)
    if config.teacher is None:
        return objective
    return replace(objective, compile_options=with_soft_targets(objective.compile_options, config, dataset.task))


def _of_labels(dataset: Dataset, splits: Splits, config: TrainingConfig) -> Objective:
    labels, task = len(dataset.labels), dataset.task
    name = config.loss_for(task)
    targets, loss = targets_and_loss(dataset.targets, labels, task, name, config.label_smoothing)
    metrics = keras_metrics(labels, task, one_hot=targets.ndim == 2)
    options: dict[str, Any] = {"loss": loss, "metrics": metrics}
    ones = np.ones(len(targets), np.float32)
    objective = Objective(targets, options, _MONITORED[task], ones, None, float(len(splits.validation)))
    if not config.balance:
        return objective
    if task == "multilabel":
        # Mean average precision counts each label the same by itself.
        weights = label_weights(dataset.targets, splits.train)
        loss = BalancedBinaryCrossentropy(weights, config.label_smoothing)
        return replace(objective, compile_options=options | {"loss": loss})
    balanced = _balanced_accuracy(task, one_hot=targets.ndim == 2)
    return replace(
        objective,
        compile_options=options | {"weighted_metrics": [balanced]},
        monitor=_BALANCED_ACCURACY,
        train_weights=image_weights(dataset.targets, splits.train),
        # Validation is weighted as training is: else the best epoch is the one that ignores the rare classes.
        validation_weights=image_weights(dataset.targets, splits.validation),
        effective_images=effective_sample_size(dataset.targets, splits.validation),
    )


def targets_and_loss(
    targets: npt.NDArray[Any], labels: int, task: str, loss: str, label_smoothing: float
) -> tuple[npt.NDArray[Any], Any]:
    """The target of each image as the loss takes it, and the loss.

    Args:
        targets: the targets of a `Dataset`.
        labels: the number of labels.
        loss: its name, from `TrainingConfig.loss_for`. Focal loss counts images less whose prediction is sure and
            right (T.-Y. Lin et al., Focal Loss for Dense Object Detection, arXiv:1708.02002), with Keras's defaults.
        label_smoothing: 0 to below 1, spread over all classes, or over the presence and absence of each label.

    Returns:
        int32 of shape (n,) for sparse categorical cross-entropy; float32 of shape (n, classes), one-hot, for
        categorical cross-entropy and focal loss of `multiclass`; float32 of shape (n, outputs) for the other tasks.
    """
    if loss == SPARSE:
        return targets, keras.losses.SparseCategoricalCrossentropy()
    if task == "multiclass":
        kind = keras.losses.CategoricalFocalCrossentropy if loss == FOCAL else keras.losses.CategoricalCrossentropy
        return np.eye(labels, dtype=np.float32)[targets], kind(label_smoothing=label_smoothing)
    kind = keras.losses.BinaryFocalCrossentropy if loss == FOCAL else keras.losses.BinaryCrossentropy
    return targets.reshape(len(targets), -1).astype(np.float32), kind(label_smoothing=label_smoothing)


def keras_metrics(labels: int, task: str, *, one_hot: bool = False) -> list[Any]:
    """New metrics for `compile`.

    `accuracy` is always among them; for `multilabel` it is the share of right decisions about single labels.
    `mean_average_precision` is Keras's estimate: the area under the curve at 200 thresholds.

    Args:
        one_hot: whether the targets of `multiclass` are one-hot.
    """
    # Objects, not names: Keras would make a named metric's variables inside the first training step, and TensorFlow
    # then traces that step a second time.
    if task == "multiclass":
        return [_categorical_accuracy("accuracy", one_hot=one_hot)]
    accuracy = keras.metrics.BinaryAccuracy(name="accuracy")
    if task == "binary":
        return [accuracy, keras.metrics.AUC(name="roc_auc")]
    return [accuracy, keras.metrics.AUC(curve="PR", multi_label=True, num_labels=labels, name=_MONITORED[task])]


def _balanced_accuracy(task: str, *, one_hot: bool) -> Any:
    """A new metric for `weighted_metrics`, to be used with the weights of `image_weights`.

    Args:
        one_hot: whether the targets of `multiclass` are one-hot.
    """
    if task == "binary":
        return keras.metrics.BinaryAccuracy(name=_BALANCED_ACCURACY)
    return _categorical_accuracy(_BALANCED_ACCURACY, one_hot=one_hot)


def _categorical_accuracy(name: str, *, one_hot: bool) -> Any:
    kind = keras.metrics.CategoricalAccuracy if one_hot else keras.metrics.SparseCategoricalAccuracy
    return kind(name=name)
