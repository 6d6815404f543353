"""Fitting a model: the steps from a data set to a run folder, in order."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from runtime import Contract, ImageInput, Preprocessor, Provenance, __version__

from . import checkpoint, quantization_aware
from .architectures import build_model
from .callbacks import AfterEpoch, BestEpoch, DivergedError, EpochLog, EpochSetter
from .datasets import Dataset
from .datasets.dataset import Indices
from .errors import TrainingError
from .metrics import Metrics, evaluate
from .pipeline import Passes, Pipeline
from .spec import TrainingSpec
from .splits import Splits, make_splits

_WARM_UP_SHARE = 0.05
_PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn")
#: Pictures from which mean and standard deviation are measured.
_SCALING_SAMPLE = 10_000
#: AdamW decays the others; these would be drawn to zero for no good: biases, and what normalizes.
_NOT_DECAYED = ("bias", "gamma", "beta")


@dataclass(frozen=True)
class TrainedRun:
    """What a training gives; `run.write_run` makes a folder of it.

    Attributes:
        history: one row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.
        best_epoch: whose weights the model has, counted from 1.
        metrics: of the test split.
        stopped: why it ended before its last epoch: `"early"` (nothing better came), `"interrupted"`, `"diverged"`;
            `""` where it did not.
        quantization_aware: figures of that phase, for `metrics.json`; None where there was none.
    """

    model: Any
    contract: Contract
    dataset: Dataset
    splits: Splits
    history: list[dict[str, Any]]
    best_epoch: int
    metrics: Metrics
    spec: TrainingSpec
    stopped: str = ""
    quantization_aware: dict[str, Any] | None = None


@dataclass(frozen=True)
class Prepared:
    """All that a training, or a sweep over learning rates, begins with.

    Attributes:
        loss: for `compile`; it suits the targets of the pipeline.
    """

    splits: Splits
    contract: Contract
    model: Any
    pipeline: Pipeline
    passes: Passes
    loss: Any


def train(
    spec: TrainingSpec, dataset: Dataset, *, checkpoint_file: Path | None = None, resume: bool = False
) -> TrainedRun:
    """Fit a classifier and measure it.

    The test split is used once, for the metrics of the best epoch by validation accuracy. Where Ctrl-C or a
    loss that is no number ends the training after its first epoch, the best epoch so far is what is given.

    Args:
        checkpoint_file: written after each epoch.
        resume: go on from it, if it is there, to what an undisturbed training would have given.

    Raises:
        DatasetError: the data set is too small to split.
        RunError: the checkpoint is damaged, or of another training.
        TrainingError: settings out of range; interrupted or diverged before the first epoch ended.
    """
    prepared = prepare(spec, dataset)
    model, passes = prepared.model, prepared.passes
    if spec.quantization_aware:
        quantization_aware.check(model)
    model.compile(optimizer=_optimizer(spec, len(passes) * spec.epochs), loss=prepared.loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    identity = checkpoint.identity(spec, dataset) if checkpoint_file else ""
    past = checkpoint.load(checkpoint_file, identity) if checkpoint_file and resume else None
    best = BestEpoch(spec.patience)
    if past:
        _go_back(model, best, past)
    log = EpochLog(len(passes), spec.epochs, past.history if past else [])

    def save() -> None:
        if checkpoint_file:
            checkpoint.save(checkpoint_file, _state(model, best, log), identity)

    validation = prepared.pipeline.batches(prepared.splits.validation)
    stopped = _fit(model, prepared.passes, validation, spec, best, log, AfterEpoch(save))
    best.restore(model)
    best_epoch, told = best.epoch, None
    if spec.quantization_aware and stopped in ("", "early"):
        tuned = quantization_aware.after_training(prepared, model, spec, log, partial(make_optimizer, spec))
        model, best_epoch, told = tuned.network or model, tuned.epoch or best_epoch, tuned.figures(best.accuracy)
        stopped = tuned.stopped if tuned.stopped == "interrupted" else stopped
    scores = model.predict(prepared.pipeline.batches(prepared.splits.test), verbose=0)
    metrics = evaluate(scores, dataset.targets[prepared.splits.test], prepared.contract.labels)
    return TrainedRun(
        model, prepared.contract, dataset, prepared.splits, log.rows, best_epoch, metrics, spec, stopped, told
    )


def prepare(spec: TrainingSpec, dataset: Dataset) -> Prepared:
    """Seed everything, split, and build; raises as `train`."""
    keras.utils.set_random_seed(spec.seed)
    tf.config.experimental.enable_op_determinism()
    splits = make_splits(dataset.targets, dataset.labels, dataset.given, spec.seed)
    contract = make_contract(dataset, splits.train, spec.seed)
    model = build_model(spec, contract.input.shape, len(contract.labels))
    targets: npt.NDArray[Any] = dataset.targets
    loss = keras.losses.SparseCategoricalCrossentropy()
    if spec.label_smoothing:
        targets = np.eye(len(contract.labels), dtype=np.float32)[targets]
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=spec.label_smoothing)
    pipeline = Pipeline(dataset.pixels, targets, Preprocessor(contract.input), spec.batch_size)
    weights = picture_weights(dataset.targets, splits.train, spec.balance)
    passes = pipeline.passes(splits.train, spec.seed, spec.augmentation, weights)
    return Prepared(splits, contract, model, pipeline, passes, loss)


def _fit(
    model: Any,
    passes: Passes,
    validation: Any,
    spec: TrainingSpec,
    best: BestEpoch,
    log: EpochLog,
    after_epoch: AfterEpoch,
) -> str:
    """Train to the end, or to what stops it; `TrainedRun.stopped`."""
    done = len(log.rows)
    if spec.patience and done and done - best.epoch >= spec.patience:
        return "early"  # as the stopped training had found, before it was killed
    stopped = ""
    try:
        # verbose=0: the log shows the time left to the end of the training, Keras only that to the end of an epoch.
        model.fit(
            passes.batches,
            validation_data=validation,
            initial_epoch=done,
            epochs=spec.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[EpochSetter(passes), best, log, after_epoch],
        )
    except KeyboardInterrupt:
        stopped = "interrupted"
    except DivergedError:
        stopped = "diverged"
    finally:
        log.close()
    if stopped and not best.epoch:
        raise TrainingError(
            "the loss is not a number any more: training diverged before its first epoch ended; lower --learning-rate"
            if stopped == "diverged"
            else "interrupted before the first epoch ended: there is nothing to keep"
        )
    return stopped or ("early" if best.stopped_early else "")


def _state(model: Any, best: BestEpoch, log: EpochLog) -> checkpoint.Checkpoint:
    model_values, optimizer_values = (
        [np.asarray(variable.value) for variable in variables]
        for variables in (model.variables, model.optimizer.variables)
    )
    return checkpoint.Checkpoint(
        model_values, optimizer_values, best.weights, best.epoch, best.accuracy, best.loss, log.rows
    )


def _go_back(model: Any, best: BestEpoch, past: checkpoint.Checkpoint) -> None:
    for variables, values in ((model.variables, past.model), (model.optimizer.variables, past.optimizer)):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    best.epoch, best.accuracy, best.loss, best.weights = (
        past.best_epoch,
        past.best_accuracy,
        past.best_loss,
        past.best,
    )


def picture_weights(targets: npt.NDArray[np.int32], train: Indices, balance: bool) -> npt.NDArray[np.float32]:
    """What each picture counts in the loss: 1, or n / (classes x pictures of its class in the training split)."""
    if not balance:
        return np.ones(len(targets), np.float32)
    counts = np.bincount(targets[train])
    weights: npt.NDArray[np.float32] = (len(train) / (len(counts) * counts)).astype(np.float32)[targets]
    return weights


def make_contract(dataset: Dataset, train_indices: Indices, seed: int) -> Contract:
    """The contract of a model trained on this data set: its geometry, and the scaling measured on training pixels."""
    sample = train_indices[:: max(1, len(train_indices) // _SCALING_SAMPLE)]
    return Contract(
        labels=dataset.labels,
        input=_with_scaling(dataset.input, dataset.pixels[sample]),
        provenance=Provenance(dataset.name, seed, _date(dataset), _versions()),
    )


def _with_scaling(spec: ImageInput, pixels: npt.NDArray[np.uint8]) -> ImageInput:
    """Scaling to about zero mean and unit variance.

    The mean is rounded to a whole pixel and shared by the channels, as is the standard deviation. So a
    quantized input can have the mean as its zero point and 1/std as its scale, and the device feeds the pixels
    raw; and the zeros that "same" padding adds are the mean pixel.
    """
    mean = float(round(float(pixels.mean(dtype=np.float64))))
    std = max(1.0, round(float(pixels.std(dtype=np.float64)), 2))
    return replace(spec, mean=(mean,) * spec.channels, std=(std,) * spec.channels)


def _date(dataset: Dataset) -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return dataset.date
    if not epoch.isdecimal():
        raise TrainingError(f"SOURCE_DATE_EPOCH is {epoch!r}, expected seconds since 1970")
    return datetime.fromtimestamp(int(epoch), timezone.utc).date().isoformat()


def _versions() -> dict[str, str]:
    return {"pocketlens": __version__} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _optimizer(spec: TrainingSpec, steps: int) -> Any:
    warm_up = max(1, round(_WARM_UP_SHARE * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=spec.learning_rate, warmup_steps=warm_up
    )
    return make_optimizer(spec, schedule)


def make_optimizer(spec: TrainingSpec, learning_rate: Any) -> Any:
    """The spec's optimizer at a rate or a schedule."""
    config: dict[str, Any] = {"learning_rate": learning_rate}
    if spec.optimizer == "adamw":
        config["weight_decay"] = spec.weight_decay
    optimizer = keras.optimizers.get({"class_name": spec.optimizer, "config": config})
    if spec.optimizer == "adamw":
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer
