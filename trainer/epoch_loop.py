"""The epochs of a training, phase after phase, with a checkpoint after each; and continuing from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .cached_head import cached_head, can_cache
from .data import Dataset
from .errors import DatasetError, RunError, TrainingError
from .fitting import checkpoint
from .fitting.callbacks import (
    BestEpochKeeper,
    DivergedError,
    EpochLogger,
    EpochSetter,
    InterruptedTrainingError,
    InterruptHandler,
)
from .fitting.optimizers import scheduled_optimizer
from .fitting.phases import HEAD, Phase, plan_phases, remaining_phases, set_trainable
from .session import TrainingSession


class EpochLoop:
    """Trains the model of a session to its last epoch, or until something ends the training.

    Args:
        dataset: the session's; the checkpoint's identity covers it.
        checkpoint_file: file to write after each epoch; None writes none.
        callbacks: Keras callbacks of the user. While only a head is trained, their model is the head alone.
        pause_after: the epoch after which `run` returns, though the schedule goes on; None for the last one. A later
            loop that resumes from the checkpoint goes on as if there had been no pause.

    Attributes:
        best: the best epoch so far.
        log: the history.
    """

    def __init__(
        self,
        session: TrainingSession,
        dataset: Dataset,
        checkpoint_file: Path | None,
        callbacks: Sequence[Any] = (),
        pause_after: int | None = None,
    ) -> None:
        config, objective = session.config, session.objective
        self.best = BestEpochKeeper(config.patience, objective.monitor, objective.effective_images, session.model)
        self.log = EpochLogger(len(session.passes), config.epochs, [], objective.monitor)
        self._session, self._file, self._callbacks = session, checkpoint_file, callbacks
        self._pause_after = pause_after
        self._optimizer: Any = None  # of the phase that is trained
        self._resumed: checkpoint.Checkpoint | None = None
        self._identity = ""
        if checkpoint_file:
            self._identity = checkpoint.training_identity(config, dataset, session.strategy.mode)
            session.strategy.check_same(self._identity)

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one; with several workers, all continue from the chief's.

        Raises:
            RunError: it is damaged, or belongs to a training with other settings or images.
        """
        file, strategy = self._file, self._session.strategy
        if file is None:
            return
        content = strategy.from_chief(file.read_bytes() if strategy.chief and file.is_file() else b"")
        if content:
            self._resumed = checkpoint.parse_checkpoint(content, file, self._identity)
            _check_shapes(self._session.model.weights, self._resumed.best)
            _assign(self._session.model.variables, self._resumed.model)
            self.best.restore_state(self._resumed)
            self.log.restore_rows(self._resumed.history)

    def run(self) -> tuple[str, str]:
        """Train, and give the model the weights of the best epoch.

        Returns:
            `TrainedRun.stopped` and `TrainedRun.problem`.

        Raises:
            DatasetError: an image cannot be read any more, before the first epoch ended.
            TrainingError: the training diverged or was interrupted before the first epoch ended.
        """
        problem = ""
        try:
            with self._session.pipeline.dataset_errors():
                stopped = self._run_phases()
        except DatasetError as error:
            if not self.best.epoch:
                raise
            stopped, problem = "unreadable", str(error)
        self.best.restore_weights(self._session.model)
        return stopped, problem

    def _run_phases(self) -> str:
        stopped = ""
        try:
            with InterruptHandler() as interrupt_handler:
                saver = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self._save())
                # The handler comes last: it raises when the others know of the epoch.
                callbacks = [self.best, self.log, saver, *self._callbacks, interrupt_handler]
                for phase in remaining_phases(plan_phases(self._session.config), self.log.rows):
                    self._run_phase(phase, callbacks, interrupt_handler)
        except InterruptedTrainingError:
            stopped = "interrupted"
        except DivergedError:
            stopped = "diverged"
        finally:
            self.log.close()
        if stopped and not self.best.epoch:
            raise TrainingError(
                "the loss is not a number any more: training diverged before its first epoch ended; lower "
                "`learning_rate`"
                if stopped == "diverged"
                else "interrupted before the first epoch ended: there is nothing to keep"
            )
        return stopped or ("early" if self.best.stopped_early else "")

    def _run_phase(self, phase: Phase, callbacks: list[Any], interrupt_handler: InterruptHandler) -> None:
        session, best, log = self._session, self.best, self.log
        done = sum(row["phase"] == phase.name for row in log.rows)
        first = len(log.rows) - done
        log.phase, log.is_last_phase = phase.name, phase == plan_phases(session.config)[-1]
        best.begin_phase(first)
        if done and best.patience_exhausted(len(log.rows)):
            best.stopped_early = True  # the stopped training had found so before it was killed
            return
        last = first + phase.epochs
        if self._pause_after is not None:
            last = min(last, self._pause_after)
        if len(log.rows) >= last:  # killed between two phases, or paused
            return
        set_trainable(session.model, phase)
        if phase.name == HEAD and can_cache(session):
            session = cached_head(session, interrupt_handler.raise_if_pressed)
        model, passes = session.model, session.passes
        config = replace(session.config, learning_rate=phase.learning_rate)
        optimizer = scheduled_optimizer(config, len(passes) * phase.epochs)
        session.objective.compile(model, optimizer)
        self._optimizer = model.optimizer
        model.optimizer.build(model.trainable_variables)
        session.strategy.prepare_model(model)
        if self._resumed and done:
            _assign(model.optimizer.variables, self._resumed.optimizer)
        # verbose=0: the log shows the time left in the training, Keras only that in the epoch.
        model.fit(
            session.strategy.batches(passes.batches),
            validation_data=session.validation,
            initial_epoch=len(log.rows),
            epochs=last,
            shuffle=False,
            verbose=0,
            callbacks=[EpochSetter(passes), *callbacks],
        )
        if len(log.rows) < last:
            best.stopped_early = True  # by patience, or by a callback of the user

    def _save(self) -> None:
        if not (self._file and self._session.strategy.chief):
            return
        model, best = self._session.model, self.best
        model_values, optimizer_values = (
            [np.asarray(variable.numpy()) for variable in variables]
            for variables in (model.variables, self._optimizer.variables)
        )
        state = checkpoint.Checkpoint(
            model_values, optimizer_values, best.weights, best.epoch, best.accuracy, best.loss, self.log.rows
        )
        checkpoint.save_checkpoint(self._file, state, self._identity)


def _assign(variables: Any, values: checkpoint.Arrays) -> None:
    _check_shapes(variables, values)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _check_shapes(variables: Any, values: checkpoint.Arrays) -> None:
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise RunError(
            "the checkpoint's model has other variables than this one; start anew with `force`, without `resume`"
        )
