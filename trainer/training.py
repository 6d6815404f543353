"""Fitting a model: the steps from a data set to a run folder, in order."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from runtime import Contract, FeaturesInput, Preprocessor, Provenance, __version__
from runtime.contract import InputSpec

from . import quantization_aware
from .datasets import Dataset
from .datasets.dataset import Indices
from .datasets.feature_scaling import standardised
from .datasets.raw_input import with_raw_input
from .datasets.scaling import measure_scaling
from .datasets.splits import Splits, make_splits
from .errors import DatasetError, RunError, TrainingError
from .fitting import checkpoint, phases
from .fitting.callbacks import (
    AfterEpoch,
    BestEpoch,
    CtrlC,
    DivergedError,
    EpochLog,
    EpochSetter,
    InterruptedTrainingError,
)
from .fitting.distribution import Distribution, as_on_one_device
from .fitting.pipeline import Passes, Pipeline
from .metrics import Metrics, evaluate
from .networks import precision
from .networks.architectures import build_model
from .networks.pretrained import scaled_for
from .networks.standardized import fold
from .spec import TrainingSpec
from .tasks import MONITORS, keras_metrics, targets_and_loss

_WARM_UP_SHARE = 0.05
_PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn")
#: AdamW decays the others; these would be drawn to zero for no good: biases, and what normalizes.
_NOT_DECAYED = ("bias", "gamma", "beta", "gain")


@dataclass(frozen=True)
class TrainedRun:
    """What a training gives; `run.write_run` makes a folder of it.

    Attributes:
        history: one row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, phase.
        best_epoch: whose weights the model has, counted from 1 over all phases.
        metrics: of the test split.
        stopped: why it ended before its last epoch: `"early"` (nothing better came), `"interrupted"`, `"diverged"`,
            `"unreadable"` (a picture could not be read any more); `""` where it did not.
        problem: which picture, and why.
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
    problem: str = ""
    quantization_aware: dict[str, Any] | None = None


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


def train(
    spec: TrainingSpec,
    dataset: Dataset,
    *,
    checkpoint_file: Path | None = None,
    resume: bool = False,
    distribution: Distribution | None = None,
) -> TrainedRun:
    """Fit a classifier and measure it.

    The test split is used once, for the metrics of the best epoch by the task's own metric on the validation split.
    Where Ctrl-C, a loss that is no number, or a picture that cannot be read any more ends the training after its first
    epoch, the best epoch so far is what is given.

    Args:
        checkpoint_file: written after each epoch.
        resume: go on from it, if it is there, to what an undisturbed training would have given.
        distribution: over which devices; without one, on one.

    Raises:
        DatasetError: the data set is too small to split, or a picture of it cannot be read any more.
        RunError: the checkpoint is damaged, of another training, or cannot be written.
        TrainingError: settings out of range; interrupted or diverged before the first epoch ended; a worker lost.
    """
    distribution = distribution or Distribution()
    with distribution.scope():
        run = _train(spec, dataset, checkpoint_file, resume, distribution)
    as_on_one_device(run.model)
    return run


def _train(
    spec: TrainingSpec, dataset: Dataset, checkpoint_file: Path | None, resume: bool, distribution: Distribution
) -> TrainedRun:
    if spec.quantization_aware and type(distribution) is not Distribution:
        raise TrainingError("--quantization-aware trains on one device; leave --distribute out")
    prepared = replace(prepare(spec, dataset), distribution=distribution)
    model, passes = prepared.model, prepared.passes
    if spec.quantization_aware:
        quantization_aware.check(fold(model))
    identity = checkpoint.identity(spec, dataset) if checkpoint_file else ""
    if identity:
        distribution.agree(identity)
    past = _past(checkpoint_file, identity, distribution) if checkpoint_file and resume else None
    monitor = MONITORS[dataset.task]
    best = BestEpoch(spec.patience, monitor)
    if past:
        _go_back(model, best, past)
    log = EpochLog(len(passes), spec.epochs, past.history if past else [], monitor)

    def save() -> None:
        if checkpoint_file and distribution.chief:
            checkpoint.save(checkpoint_file, _state(model, best, log), identity)

    validation = prepared.pipeline.batches(prepared.splits.validation)
    problem = ""
    try:
        with prepared.pipeline.told():
            stopped = _fit(prepared, validation, spec, best, log, AfterEpoch(save), past)
    except DatasetError as error:
        if not best.epoch:
            raise
        stopped, problem = "unreadable", str(error)
    best.restore(model)
    model = _plain(model, spec)
    best_epoch, told = best.epoch, None
    with prepared.pipeline.told():
        if spec.quantization_aware and stopped in ("", "early"):
            tuned = quantization_aware.after_training(prepared, model, spec, log, partial(make_optimizer, spec))
            model, best_epoch, told = tuned.network or model, tuned.epoch or best_epoch, tuned.figures(best.accuracy)
            stopped = tuned.stopped if tuned.stopped == "interrupted" else stopped
        scores = model.predict(prepared.pipeline.batches(prepared.splits.test), verbose=0)
    metrics = evaluate(scores, dataset.targets[prepared.splits.test], dataset.labels, dataset.task)
    return TrainedRun(
        model, prepared.contract, dataset, prepared.splits, log.rows, best_epoch, metrics, spec, stopped, problem, told
    )


def _plain(model: Any, spec: TrainingSpec) -> Any:
    """The trained model in float32 and of layers that everybody has."""
    if precision.is_mixed(spec.mixed_precision):
        model = precision.with_policy(model, precision.PLAIN)
    return fold(model)


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
    pipeline = Pipeline(dataset.pixels, targets, Preprocessor(contract.input), spec.batch_size)
    weights = picture_weights(dataset.targets, splits.train, spec.balance)
    passes = pipeline.passes(splits.train, spec.seed, spec.augmentation, weights)
    if spec.steps_per_epoch:
        passes.batches = passes.batches.take(spec.steps_per_epoch)
    return Prepared(splits, contract, model, pipeline, passes, loss, keras_metrics(labels, task))


def _fit(
    prepared: Prepared,
    validation: Any,
    spec: TrainingSpec,
    best: BestEpoch,
    log: EpochLog,
    after_epoch: AfterEpoch,
    past: checkpoint.Checkpoint | None,
) -> str:
    """Train to the end, or to what stops it; `TrainedRun.stopped`."""
    stopped = ""
    try:
        with CtrlC() as ctrl_c:
            callbacks = [EpochSetter(prepared.passes), best, log, after_epoch, ctrl_c]
            for phase in phases.left(phases.plan(spec), log.rows):
                _fit_phase(phase, prepared, validation, spec, best, log, callbacks, past)
    except InterruptedTrainingError:
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


def _fit_phase(
    phase: phases.Phase,
    prepared: Prepared,
    validation: Any,
    spec: TrainingSpec,
    best: BestEpoch,
    log: EpochLog,
    callbacks: list[Any],
    past: checkpoint.Checkpoint | None,
) -> None:
    model, passes = prepared.model, prepared.passes
    done = sum(row["phase"] == phase.name for row in log.rows)
    began = len(log.rows) - done
    log.phase = phase.name
    best.begin_phase(began)
    if done and best.is_worn_out(len(log.rows)):
        best.stopped_early = True  # as the stopped training had found, before it was killed
        return
    phases.set_trainable(model, phase)
    optimizer = _optimizer(replace(spec, learning_rate=phase.learning_rate), len(passes) * phase.epochs)
    model.compile(optimizer=optimizer, loss=prepared.loss, metrics=prepared.metrics)
    model.optimizer.build(model.trainable_variables)
    prepared.distribution.adopt(model)
    if past and done:
        _assign(model.optimizer.variables, past.optimizer)
    # verbose=0: the log shows the time left to the end of the training, Keras only that to the end of an epoch.
    model.fit(
        prepared.distribution.batches(passes.batches),
        validation_data=validation,
        initial_epoch=len(log.rows),
        epochs=began + phase.epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


def _state(model: Any, best: BestEpoch, log: EpochLog) -> checkpoint.Checkpoint:
    model_values, optimizer_values = (
        [np.asarray(variable.numpy()) for variable in variables]
        for variables in (model.variables, model.optimizer.variables)
    )
    return checkpoint.Checkpoint(
        model_values, optimizer_values, best.weights, best.epoch, best.accuracy, best.loss, log.rows
    )


def _past(file: Path, identity: str, distribution: Distribution) -> checkpoint.Checkpoint | None:
    """The chief's checkpoint, wherever the others run."""
    content = distribution.from_chief(file.read_bytes() if distribution.chief and file.is_file() else b"")
    return checkpoint.read(content, file, identity) if content else None


def _go_back(model: Any, best: BestEpoch, past: checkpoint.Checkpoint) -> None:
    _check_shapes(model.weights, past.best)
    _assign(model.variables, past.model)
    best.epoch, best.accuracy, best.loss, best.weights = (
        past.best_epoch,
        past.best_accuracy,
        past.best_loss,
        past.best,
    )


def _assign(variables: Any, values: checkpoint.Arrays) -> None:
    _check_shapes(variables, values)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _check_shapes(variables: Any, values: checkpoint.Arrays) -> None:
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise RunError(
            "the checkpoint's model has other variables than this one; start anew with --force, without --resume"
        )


def picture_weights(targets: npt.NDArray[Any], train: Indices, balance: bool) -> npt.NDArray[np.float32]:
    """What each picture counts in the loss: 1, or n / (classes x pictures of its class in the training split).

    Raises:
        TrainingError: pictures of several labels are to be balanced.
    """
    if not balance:
        return np.ones(len(targets), np.float32)
    if targets.ndim != 1:
        raise TrainingError(
            "--balance weighs an image by its one class, and multilabel images have several; leave it out"
        )
    counts = np.bincount(targets[train])
    weights: npt.NDArray[np.float32] = (len(train) / (len(counts) * counts)).astype(np.float32)[targets]
    return weights


def make_contract(dataset: Dataset, train_indices: Indices, seed: int) -> Contract:
    """The contract of a model trained on this data set: its geometry, and the scaling measured on training pixels."""
    return Contract(
        labels=dataset.labels,
        task=dataset.task,
        input=_scaled(dataset, train_indices),
        provenance=Provenance(dataset.name, seed, _date(dataset), _versions()),
    )


def _scaled(dataset: Dataset, train_indices: Indices) -> InputSpec:
    """The data set's input with the scaling that its training split asks for."""
    spec = dataset.input
    if isinstance(spec, FeaturesInput):
        return standardised(spec, dataset.pixels[train_indices])
    return measure_scaling(spec, dataset.pixels, train_indices)


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
    if precision.is_mixed(spec.mixed_precision):
        return precision.scaled(optimizer)
    return optimizer
