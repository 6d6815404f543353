"""All that a training, or a sweep over learning rates, begins with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runtime import Contract, Preprocessor

from ..contract import make_contract
from ..datasets import Dataset
from ..datasets.raw_input import with_raw_input
from ..datasets.splits import Splits, make_splits
from ..networks import precision
from ..networks.architectures import build_model
from ..networks.pretrained import scaled_for
from ..spec import TrainingSpec
from ..tasks import keras_metrics, targets_and_loss
from . import phases
from .balance import BalancedBinaryCrossentropy, label_weights, picture_weights
from .distribution import Distribution
from .pipeline import Passes, Pipeline


@dataclass(frozen=True)
class Prepared:
    """All that a training, or a sweep over learning rates, begins with.

    Attributes:
        loss, metrics: for `compile`; they suit the targets of the pipeline.
        distribution: over which devices.
    """

    splits: Splits
    contract: Contract
    model: Any
    pipeline: Pipeline
    passes: Passes
    loss: Any
    metrics: list[Any]
    distribution: Distribution = field(default_factory=Distribution)


def prepare(spec: TrainingSpec, dataset: Dataset) -> Prepared:
    """Seed everything, split, and build; raises as `train`."""
    keras.utils.set_random_seed(spec.seed)
    tf.config.experimental.enable_op_determinism()
    splits = make_splits(dataset.targets, dataset.labels, dataset.given, spec.seed)
    contract = make_contract(dataset, splits.train, spec.seed)
    contract = replace(contract, input=scaled_for(spec, contract.input))
    if not spec.normalise:
        contract = with_raw_input(contract)
    labels, task = len(dataset.labels), dataset.task
    model = build_model(spec, contract.input.shape, labels, task)
    if precision.is_mixed(spec.mixed_precision):
        model = precision.with_policy(model, precision.MIXED)
    phases.set_trainable(model, phases.plan(spec)[0])
    targets, loss = targets_and_loss(dataset.targets, labels, task, spec.label_smoothing)
    weights = np.ones(len(targets), np.float32)
    if spec.balance and task == "multilabel":
        loss = BalancedBinaryCrossentropy(label_weights(dataset.targets, splits.train), spec.label_smoothing)
    elif spec.balance:
        weights = picture_weights(dataset.targets, splits.train)
    pipeline = Pipeline(dataset.pixels, targets, Preprocessor(contract.input), spec.batch_size)
    passes = pipeline.passes(splits.train, spec.seed, spec.augmentation, weights)
    if spec.steps_per_epoch:
        passes.batches = passes.batches.take(spec.steps_per_epoch)
    return Prepared(splits, contract, model, pipeline, passes, loss, keras_metrics(labels, task))
