"""What watches a training: the log with the time left, the keeper of the best epoch, the checkpoint after each."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import keras

from runtime.command_line import progress

from .pipeline import Passes


class DivergedError(Exception):
    """The loss became infinite or no number; `training.train` turns it into an answer."""


class BestEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the epoch with the highest validation accuracy, the lower loss where equal.

    Attributes:
        epoch: the best one, from 1; 0 where none has ended yet.
        accuracy, loss: its figures on the validation split.
        weights: its weights.
    """

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.epoch, self.accuracy, self.loss = 0, -1.0, math.inf
        self.weights: list[Any] = []
        self.stopped_early = False
        self._patience = patience

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not math.isfinite((logs or {})["loss"]):
            raise DivergedError

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        accuracy, loss = float(logs["val_accuracy"]), float(logs["val_loss"])
        if not math.isfinite(loss):
            raise DivergedError
        if (accuracy, -loss) > (self.accuracy, -self.loss):
            weights = self.model.get_weights()
            self.epoch, self.accuracy, self.loss, self.weights = epoch + 1, accuracy, loss, weights
        elif self._patience and epoch + 1 - self.epoch >= self._patience:
            self.stopped_early = self.model.stop_training = True

    def restore(self, model: Any) -> None:
        """Give a model the best epoch's weights."""
        model.set_weights(self.weights)


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """A progress bar over all epochs with the time left, and one line an epoch.

    Attributes:
        rows: one an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.
    """

    def __init__(self, steps: int, epochs: int, rows: list[dict[str, Any]]) -> None:
        super().__init__()
        self.rows = list(rows)
        self._epochs = epochs
        self._bar = progress(steps * epochs, "training")
        self._done = steps * len(rows)
        self._started = 0.0
        self._status = ""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._bar.__enter__()
        self._bar.update(self._done)

    def close(self) -> None:
        """End the bar, however the training ended."""
        self._bar.__exit__(None, None, None)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        epoch = len(self.rows) + 1
        self._bar.update(
            1, f"epoch {epoch}/{self._epochs} loss {logs['loss']:.4f} accuracy {logs['accuracy']:.4f}{self._status}"
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(time.perf_counter() - self._started, 2)
        self.rows.append(row)
        self._status = f" val {row['val_accuracy']:.4f}"
        if not sys.stderr.isatty():  # the bar shows it where somebody watches
            left = sum(r["seconds"] for r in self.rows) / len(self.rows) * (self._epochs - len(self.rows))
            click.echo(
                f"epoch {epoch + 1}/{self._epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
                f"val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}  {left:.0f} s left",
                err=True,
            )


class EpochSetter(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the passes which epoch begins: Keras starts a new iteration right after."""

    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self._passes = passes

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._passes.epoch = epoch


class AfterEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls a function at the end of each epoch; to be the last in the list, when all others have seen it."""

    def __init__(self, function: Callable[[], None]) -> None:
        super().__init__()
        self._function = function

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._function()
