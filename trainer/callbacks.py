"""What watches a training: the log with the time left, and the keeper of the best epoch."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import click
import keras

from runtime.command_line import progress

from .errors import TrainingError


class BestEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the epoch with the highest validation accuracy, the lower loss where equal."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self._key = (-1.0, -math.inf)
        self._weights: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not math.isfinite((logs or {})["loss"]):
            raise TrainingError("the loss is not a number any more: training diverged; lower --learning-rate")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        key = (logs["val_accuracy"], -logs["val_loss"])
        if key > self._key:
            self._key, self.epoch, self._weights = key, epoch + 1, self.model.get_weights()

    def restore(self, model: Any) -> None:
        """Give a model the best epoch's weights."""
        model.set_weights(self._weights)


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """A progress bar over all epochs with the time left, and one line an epoch.

    Attributes:
        rows: one an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.
    """

    def __init__(self, steps: int, epochs: int) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self._epochs = epochs
        self._bar = progress(steps * epochs, "training")
        self._started = 0.0
        self._status = ""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._bar.__enter__()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
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
        row: dict[str, float] = {"epoch": epoch + 1}
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
