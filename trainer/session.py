"""Prepares a training, or a sweep over learning rates: splits, contract, model, loss and batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runtime import Contract, make_preprocessor

from .config import INSIDE, UNIT, UNSCALED, TrainingConfig
from .contract import make_contract
from .data import Dataset
from .data.normalization import check_has_pixels, with_unit_scaling, without_scaling
from .data.splits import Splits, make_splits, sample_training
from .distributed.strategy import Strategy
from .fitting import phases
from .fitting.distillation import make_soft_targets
from .fitting.input_pipeline import Passes, Pipeline
from .fitting.objective import Objective, make_objective
from .models import mixed_precision
from .models.factory import build_model
from .models.pretrained import with_backbone_scaling
from .models.weight_standardization import to_plain_convolutions
from .qat.fine_tuning import FineTuningData, check_simulable, input_range

#: Training images that set the ranges of activations: as many as the exporter's representative dataset has.
_REPRESENTATIVE_IMAGES = 500


@dataclass(frozen=True)
class TrainingSession:
    """The prepared parts of a training, or of a sweep over learning rates.

    Attributes:
        model: the model, not yet compiled; the layers that the first phase trains are trainable.
        objective: the loss, its targets and weights, and the metrics.
        passes: batches of the training split, shuffled and augmented.
        validation: a `tf.data.Dataset` of the validation split.
        strategy: the devices to train on.
    """

    config: TrainingConfig
    strategy: Strategy
    splits: Splits
    contract: Contract
    model: Any
    objective: Objective
    pipeline: Pipeline
    passes: Passes
    validation: Any

    def fine_tuning_data(self) -> FineTuningData:
        """The batches of the quantization-aware phase."""
        chosen = np.random.default_rng(self.config.seed).permutation(self.splits.train)[:_REPRESENTATIVE_IMAGES]
        limits = input_range(self.contract.input)
        return FineTuningData(self.passes, self.validation, self.pipeline.batches(chosen), limits)

    def without_scaling(self) -> TrainingSession:
        """The session for a model that scales its input itself: contract and pipeline leave pixels as they are."""
        contract = without_scaling(self.contract)
        pipeline = replace(self.pipeline, preprocessor=make_preprocessor(contract.input))
        return replace(self, contract=contract, pipeline=pipeline)


def prepare_session(dataset: Dataset, config: TrainingConfig, strategy: Strategy | None = None) -> TrainingSession:
    """Seed every random generator, split the data set, and build the model; raises as `training.train`."""
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    splits = make_splits(dataset.targets, dataset.labels, dataset.given, config.seed)
    if config.train_samples is not None:
        splits = sample_training(splits, dataset.targets, dataset.labels, config.train_samples, config.seed)
    contract = _contract(dataset, splits, config)
    model = _model(dataset, contract, config)
    objective = make_objective(dataset, splits, config)
    pipeline = Pipeline(dataset.pixels, objective.targets, make_preprocessor(contract.input), config.batch_size)
    soft_targets = make_soft_targets(config, dataset, contract.input, splits, pipeline)
    passes = pipeline.passes(splits.train, config.seed, config.augmentation, objective.train_weights, soft_targets)
    if config.steps_per_epoch:
        passes.batches = passes.batches.take(config.steps_per_epoch)
    validation = pipeline.batches(splits.validation, objective.validation_weights)
    return TrainingSession(
        config, strategy or Strategy(), splits, contract, model, objective, pipeline, passes, validation
    )


def _contract(dataset: Dataset, splits: Splits, config: TrainingConfig) -> Contract:
    contract = make_contract(dataset, splits.train, config.seed)
    contract = replace(contract, input=with_backbone_scaling(config, contract.input))
    if config.scaling in (INSIDE, UNIT):
        check_has_pixels(contract, config.scaling)
    return {UNIT: with_unit_scaling, UNSCALED: without_scaling}.get(config.scaling, lambda same: same)(contract)


def _model(dataset: Dataset, contract: Contract, config: TrainingConfig) -> Any:
    model = build_model(config, contract.input.shape, len(dataset.labels), dataset.task)
    if config.quantization_aware:  # refused before any time is spent on it
        check_simulable(to_plain_convolutions(model))
    policy = mixed_precision.precision_policy(config)
    if policy != mixed_precision.FLOAT32:
        model = mixed_precision.with_policy(model, policy)
    phases.set_trainable(model, phases.plan_phases(config)[0])
    return model
