"""All that a training, or a sweep over learning rates, begins with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runtime import Contract, make_preprocessor

from . import qat as quantization_aware
from .config import TrainingConfig
from .contract import make_contract
from .data import Dataset
from .data.normalization import without_scaling
from .data.splits import Splits, make_splits
from .distributed.distribution import Distribution
from .fitting import phases
from .fitting.class_weights import BalancedBinaryCrossentropy, label_weights, picture_weights, worth
from .fitting.input_pipeline import Passes, Pipeline
from .models import mixed_precision as precision
from .models.factory import build_model
from .models.pretrained import scaled_for
from .models.weight_standardization import fold
from .tasks import balanced_accuracy, keras_metrics, monitored, targets_and_loss


@dataclass(frozen=True)
class TrainingSession:
    """All that a training, or a sweep over learning rates, begins with.

    Attributes:
        validation: batches of the validation split.
        told_by: how many pictures its figures rest on, where the best epoch is chosen; rare classes make it fewer.
        monitor: the figure by which that is done.
        judged: for `compile`: loss, metrics and weighted_metrics; they suit the targets of the pipeline.
        distribution: over which devices.
    """

    splits: Splits
    contract: Contract
    model: Any
    pipeline: Pipeline
    passes: Passes
    validation: Any
    told_by: float
    monitor: str
    judged: dict[str, Any]
    distribution: Distribution = field(default_factory=Distribution)


def prepare(spec: TrainingConfig, dataset: Dataset) -> TrainingSession:
    """Seed everything, split, and build; raises as `train`."""
    keras.utils.set_random_seed(spec.seed)
    tf.config.experimental.enable_op_determinism()
    splits = make_splits(dataset.targets, dataset.labels, dataset.given, spec.seed)
    contract = make_contract(dataset, splits.train, spec.seed)
    contract = replace(contract, input=scaled_for(spec, contract.input))
    if not spec.normalise:
        contract = without_scaling(contract)
    labels, task = len(dataset.labels), dataset.task
    model = build_model(spec, contract.input.shape, labels, task)
    if spec.quantization_aware:
        quantization_aware.check(fold(model))
    if precision.is_mixed(spec.mixed_precision):
        model = precision.with_policy(model, precision.MIXED)
    phases.set_trainable(model, phases.plan(spec)[0])
    targets, loss = targets_and_loss(dataset.targets, labels, task, spec.label_smoothing)
    judged = {"loss": loss, "metrics": keras_metrics(labels, task)}
    weights, validation_weights, told_by = np.ones(len(targets), np.float32), None, float(len(splits.validation))
    if spec.balance and task == "multilabel":
        judged["loss"] = BalancedBinaryCrossentropy(label_weights(dataset.targets, splits.train), spec.label_smoothing)
    elif spec.balance:
        weights = picture_weights(dataset.targets, splits.train)
        # The validation split judges as the training split teaches: else the best epoch is the one that leaves the
        # rare classes out.
        validation_weights = picture_weights(dataset.targets, splits.validation)
        told_by = worth(dataset.targets, splits.validation)
        judged["weighted_metrics"] = [balanced_accuracy(task, one_hot=targets.ndim == 2)]
    pipeline = Pipeline(dataset.pixels, targets, make_preprocessor(contract.input), spec.batch_size)
    passes = pipeline.passes(splits.train, spec.seed, spec.augmentation, weights)
    if spec.steps_per_epoch:
        passes.batches = passes.batches.take(spec.steps_per_epoch)
    validation = pipeline.batches(splits.validation, validation_weights)
    monitor = monitored(task, spec.balance)
    return TrainingSession(splits, contract, model, pipeline, passes, validation, told_by, monitor, judged)
