"""Phase after phase of epochs, to the end or to what stops it; and going back to where an earlier one stood."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import TrainingConfig
from ..distributed.distribution import Distribution
from ..errors import RunError, TrainingError
from ..session import TrainingSession
from . import checkpoint, phases
from .callbacks import AfterEpoch, BestEpoch, CtrlC, DivergedError, EpochLog, EpochSetter, InterruptedTrainingError
from .optimizers import scheduled_optimizer


def fit(
    prepared: TrainingSession,
    spec: TrainingConfig,
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
                _fit_phase(phase, prepared, spec, best, log, callbacks, past)
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
    prepared: TrainingSession,
    spec: TrainingConfig,
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
    optimizer = scheduled_optimizer(replace(spec, learning_rate=phase.learning_rate), len(passes) * phase.epochs)
    model.compile(optimizer=optimizer, **prepared.judged)
    model.optimizer.build(model.trainable_variables)
    prepared.distribution.adopt(model)
    if past and done:
        _assign(model.optimizer.variables, past.optimizer)
    # verbose=0: the log shows the time left to the end of the training, Keras only that to the end of an epoch.
    model.fit(
        prepared.distribution.batches(passes.batches),
        validation_data=prepared.validation,
        initial_epoch=len(log.rows),
        epochs=began + phase.epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


def state(model: Any, best: BestEpoch, log: EpochLog) -> checkpoint.Checkpoint:
    model_values, optimizer_values = (
        [np.asarray(variable.numpy()) for variable in variables]
        for variables in (model.variables, model.optimizer.variables)
    )
    return checkpoint.Checkpoint(
        model_values, optimizer_values, best.weights, best.epoch, best.accuracy, best.loss, log.rows
    )


def past_of(file: Path, identity: str, distribution: Distribution) -> checkpoint.Checkpoint | None:
    """The chief's checkpoint, wherever the others run."""
    content = distribution.from_chief(file.read_bytes() if distribution.chief and file.is_file() else b"")
    return checkpoint.read(content, file, identity) if content else None


def go_back(model: Any, best: BestEpoch, past: checkpoint.Checkpoint) -> None:
    _check_shapes(model.weights, past.best)
    _assign(model.variables, past.model)
    best.go_back(past)


def _assign(variables: Any, values: checkpoint.Arrays) -> None:
    _check_shapes(variables, values)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _check_shapes(variables: Any, values: checkpoint.Arrays) -> None:
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise RunError(
            "the checkpoint's model has other variables than this one; start anew with --force, without --resume"
        )
