"""Training: the steps from a data set to a measured model, in order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from runtime import Contract

from .config import AUTO_LOSS, INSIDE, TrainingConfig
from .data import Dataset
from .data.sources import Indices
from .data.splits import Splits
from .distributed.strategy import Strategy, unsynchronize
from .epoch_loop import EpochLoop
from .errors import DatasetError, TrainingError
from .evaluation.metrics import Metrics, compute_metrics, describe_chance
from .evaluation.predictions import describe_outputs
from .fitting.optimizers import make_optimizer
from .models import mixed_precision
from .models.factory import strip_compile_state, with_scaling_layer
from .models.weight_standardization import to_plain_convolutions
from .qat.fine_tuning import FineTuningResult, fine_tune
from .session import TrainingSession, prepare_session

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """The result of a training; `run_writer.write_run` makes a folder of it.

    Attributes:
        model: the Keras model with the weights of the best epoch.
        history: one row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, phase, and the
            other metrics of the task.
        best_epoch: the epoch of the model's weights, counted from 1 over all phases.
        metrics: figures of the test split.
        monitor: the metric by which the best epoch was chosen.
        stopped: why the training ended before its last epoch: `"early"` (patience was exhausted), `"interrupted"`,
            `"diverged"`, `"unreadable"` (an image could not be read any more); `""` where it ended as planned.
        problem: the error message of `"unreadable"`.
        quantization_aware: figures of the quantization-aware phase, for `metrics.json`; None without that phase.
        warnings: what makes the model doubtful, a line each.
    """

    model: Any
    contract: Contract
    dataset: Dataset
    splits: Splits
    history: list[dict[str, Any]]
    best_epoch: int
    metrics: Metrics
    config: TrainingConfig
    monitor: str
    stopped: str = ""
    problem: str = ""
    quantization_aware: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()


def train(
    dataset: Dataset,
    config: TrainingConfig,
    *,
    checkpoint_file: Path | None = None,
    resume: bool = False,
    strategy: Strategy | None = None,
    callbacks: Sequence[Any] = (),
) -> TrainedRun:
    """Train a classifier and measure it.

    The best epoch is chosen by the task's own metric on the validation split. The test split is used once, for the
    metrics of that epoch. If Ctrl-C, a loss that is not finite, or an unreadable image ends the training after its
    first epoch, the result is the best epoch so far. The same data set, configuration, seed and package versions give
    the same weights.

    Args:
        dataset: images or feature vectors with their targets, as `load_dataset` gives them.
        config: all settings.
        checkpoint_file: file to write after each epoch; None writes no checkpoints.
        resume: continue from `checkpoint_file`, if it exists, to the result of an uninterrupted training.
        strategy: the devices to train on; None for one device.
        callbacks: Keras callbacks for the epochs, but not for those of the quantization-aware phase. They come after
            ours, so that `logs` has the validation's figures too; the best epoch is kept whatever they do. One that
            stops the training ends it as patience does. One that sets the learning rate needs `schedule="constant"`
            and no warm-up. Checkpoints do not hold their state.

    Raises:
        TypeError: `dataset` or `config` is something else.
        DatasetError: the data set is too small to split, or an image cannot be read any more.
        RunError: the checkpoint is damaged, belongs to another training, or cannot be written.
        TrainingError: a setting is out of range; the training was interrupted or diverged before the first epoch
            ended; a worker was lost.

    Example:
        from trainer import TrainingConfig, load_dataset, train
        run = train(load_dataset("digits"), TrainingConfig(epochs=5))
        print(run.metrics.accuracy)
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset is {dataset!r}, expected a Dataset, as `load_dataset` gives it")
    if not isinstance(config, TrainingConfig):
        raise TypeError(f"config is {config!r}, expected a TrainingConfig")
    strategy = strategy or Strategy()
    with strategy.scope():
        run = _train(dataset, config, checkpoint_file, resume, strategy, callbacks)
    unsynchronize(run.model)
    return replace(run, model=strip_compile_state(run.model))


def _train(
    dataset: Dataset,
    config: TrainingConfig,
    checkpoint_file: Path | None,
    resume: bool,
    strategy: Strategy,
    callbacks: Sequence[Any],
) -> TrainedRun:
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TrainingError(f"`callbacks`: {callback!r} is no object of keras.callbacks.Callback")
    if config.quantization_aware and type(strategy) is not Strategy:
        raise TrainingError("`quantization_aware` trains on one device; leave `strategy` out")
    session = prepare_session(dataset, config, strategy)
    _log_objective(session, dataset)
    loop = EpochLoop(session, dataset, checkpoint_file, callbacks)
    if resume:
        loop.resume()
    fitted = fit(session, loop, checkpoint_file)
    session, model = fitted.session, fitted.model
    with _resumable(checkpoint_file), session.pipeline.dataset_errors():
        metrics, validation = (
            _measure(session, dataset, model, split) for split in (session.splits.test, session.splits.validation)
        )
    doubt = describe_chance(validation, dataset.labels, balanced=config.balance)
    return TrainedRun(
        model=model,
        contract=session.contract,
        dataset=dataset,
        splits=session.splits,
        history=loop.log.rows,
        best_epoch=fitted.best_epoch,
        metrics=metrics,
        config=config,
        monitor=session.objective.monitor,
        stopped=fitted.stopped,
        problem=fitted.problem,
        quantization_aware=fitted.quantization_aware,
        warnings=(doubt,) if doubt else (),
    )


@dataclass(frozen=True)
class FittedModel:
    """A model that was trained and not measured yet.

    Attributes:
        session: the session, with the contract of this model.
        model: the Keras model with the weights of the best epoch, in float32 and with layers of Keras alone.
        best_epoch, stopped, problem, quantization_aware: as in `TrainedRun`.
    """

    session: TrainingSession
    model: Any
    best_epoch: int
    stopped: str
    problem: str
    quantization_aware: dict[str, Any] | None


def fit(
    session: TrainingSession, loop: EpochLoop, checkpoint_file: Path | None = None, *, is_paused: bool = False
) -> FittedModel:
    """Train to the end of the loop, then with simulated rounding if so configured; no split is measured.

    Args:
        loop: of this session; its `resume` was called where the training goes on.
        checkpoint_file: the loop's.
        is_paused: whether the loop ends before its schedule does: the quantization-aware phase is not due yet.

    Raises:
        DatasetError, TrainingError: as `train`.
    """
    config = session.config
    stopped, problem = loop.run()
    model, best_epoch, figures = plain_model(session), loop.best.epoch, None
    with _resumable(checkpoint_file), session.pipeline.dataset_errors():
        if config.quantization_aware and not is_paused and stopped in ("", "early"):
            result = _fine_tune(session, model, loop)
            model, best_epoch = result.network or model, result.best_epoch or best_epoch
            figures = result.figures(loop.best.accuracy)
            stopped = result.stopped if result.stopped == "interrupted" else stopped
    model, session = with_inner_scaling(session, model)
    return FittedModel(session, model, best_epoch, stopped, problem, figures)


def with_inner_scaling(session: TrainingSession, model: Any) -> tuple[Any, TrainingSession]:
    """The model, and the session with its contract: with `scaling="inside"` the model scales pixels itself."""
    if session.config.scaling != INSIDE:
        return model, session
    # Only after training: augmentation and quantization-aware training work on scaled pixels.
    return with_scaling_layer(model, session.contract.image_input), session.without_scaling()


def _log_objective(session: TrainingSession, dataset: Dataset) -> None:
    """Say the loss, the outputs, a precision other than float32, and the number of training samples if not all."""
    config = session.config
    chosen = " (auto)" if config.loss == AUTO_LOSS else ""
    outputs = describe_outputs(dataset.task, len(dataset.labels))
    _log.info(f"loss: {config.loss_for(dataset.task)}{chosen}; output: {outputs}")
    policy = mixed_precision.precision_policy(config)
    if policy != mixed_precision.FLOAT32:
        _log.info(f"computing in {policy.removeprefix('mixed_')} with float32 weights")
    if config.train_samples is not None:
        _log.info(f"training samples: {len(session.splits.train):,}")


def _measure(session: TrainingSession, dataset: Dataset, model: Any, split: Indices) -> Metrics:
    scores = model.predict(session.pipeline.batches(split), verbose=0)
    return compute_metrics(scores, dataset.targets[split], dataset.labels, dataset.task)


def plain_model(session: TrainingSession) -> Any:
    """The trained model in float32, with layers of Keras alone."""
    # Keras copies the loss of a compiled model by its name, and does not know ours.
    model = strip_compile_state(session.model)
    if mixed_precision.precision_policy(session.config) != mixed_precision.FLOAT32:
        model = mixed_precision.with_policy(model, mixed_precision.FLOAT32)
    return to_plain_convolutions(model)


def _fine_tune(session: TrainingSession, model: Any, loop: EpochLoop) -> FineTuningResult:
    config = session.config
    return fine_tune(
        model, session.fine_tuning_data(), session.objective, config, loop.log, partial(make_optimizer, config)
    )


@contextmanager
def _resumable(checkpoint_file: Path | None) -> Iterator[None]:
    """A read error after the last epoch keeps the checkpoint: say so in the error."""
    try:
        yield
    except DatasetError as error:
        if checkpoint_file is None:
            raise
        raise DatasetError(f"{error}, and `resume` goes on after the last epoch") from error
