"""Fitting a model: the steps from a data set to a run folder, in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from runtime import Contract

from . import qat as quantization_aware
from .config import TrainingConfig
from .data import Dataset
from .data.splits import Splits
from .distributed.distribution import Distribution, as_on_one_device
from .errors import DatasetError, TrainingError
from .evaluation.metrics import Metrics, compute_metrics
from .fitting import checkpoint
from .fitting.callbacks import AfterEpoch, BestEpoch, EpochLog
from .fitting.fit import fit, go_back, past_of, state
from .fitting.optimizers import make_optimizer
from .models import mixed_precision as precision
from .models.compile_state import strip_compile_state
from .models.weight_standardization import fold
from .session import prepare


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
    spec: TrainingConfig
    stopped: str = ""
    problem: str = ""
    quantization_aware: dict[str, Any] | None = None


def train(
    spec: TrainingConfig,
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
    return replace(run, model=strip_compile_state(run.model))


def _train(
    spec: TrainingConfig, dataset: Dataset, checkpoint_file: Path | None, resume: bool, distribution: Distribution
) -> TrainedRun:
    if spec.quantization_aware and type(distribution) is not Distribution:
        raise TrainingError("--quantization-aware trains on one device; leave --distribute out")
    prepared = replace(prepare(spec, dataset), distribution=distribution)
    model, passes = prepared.model, prepared.passes
    identity = checkpoint.identity(spec, dataset, distribution.mode) if checkpoint_file else ""
    if identity:
        distribution.agree(identity)
    past = past_of(checkpoint_file, identity, distribution) if checkpoint_file and resume else None
    best = BestEpoch(spec.patience, prepared.monitor, prepared.told_by)
    if past:
        go_back(model, best, past)
    log = EpochLog(len(passes), spec.epochs, past.history if past else [], prepared.monitor)

    def save() -> None:
        if checkpoint_file and distribution.chief:
            checkpoint.save(checkpoint_file, state(model, best, log), identity)

    problem = ""
    try:
        with prepared.pipeline.told():
            stopped = fit(prepared, spec, best, log, AfterEpoch(save), past)
    except DatasetError as error:
        if not best.epoch:
            raise
        stopped, problem = "unreadable", str(error)
    best.restore(model)
    model = _plain(model, spec)
    best_epoch, told = best.epoch, None
    with _resumable(checkpoint_file), prepared.pipeline.told():
        if spec.quantization_aware and stopped in ("", "early"):
            tuned = quantization_aware.after_training(prepared, model, spec, log, partial(make_optimizer, spec))
            model, best_epoch, told = tuned.network or model, tuned.epoch or best_epoch, tuned.figures(best.accuracy)
            stopped = tuned.stopped if tuned.stopped == "interrupted" else stopped
        scores = model.predict(prepared.pipeline.batches(prepared.splits.test), verbose=0)
    metrics = compute_metrics(scores, dataset.targets[prepared.splits.test], dataset.labels, dataset.task)
    return TrainedRun(
        model, prepared.contract, dataset, prepared.splits, log.rows, best_epoch, metrics, spec, stopped, problem, told
    )


@contextmanager
def _resumable(checkpoint_file: Path | None) -> Iterator[None]:
    """After the last epoch: a picture that cannot be read any more costs what comes then, and not the epochs."""
    try:
        yield
    except DatasetError as error:
        if checkpoint_file is None:
            raise
        raise DatasetError(f"{error}, and --resume goes on after the last epoch") from error


def _plain(model: Any, spec: TrainingConfig) -> Any:
    """The trained model in float32 and of layers that everybody has."""
    if precision.is_mixed(spec.mixed_precision):
        model = precision.with_policy(model, precision.PLAIN)
    return fold(model)
