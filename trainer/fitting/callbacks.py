"""Keras callbacks of a training: the log with the time left, the best epoch, Ctrl-C."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from typing import Any

import keras

from runtime.progress import progress

from .checkpoint import Checkpoint
from .input_pipeline import Passes

_log = logging.getLogger(__name__)


class DivergedError(Exception):
    """The loss is infinite or not a number; the training ends with its best epoch."""


class InterruptedTrainingError(Exception):
    """Ctrl-C ended the training between two batches; it ends with its best epoch."""


class BestEpochKeeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the best epoch: the one with the lowest loss among the most accurate.

    Accuracies within one standard error of the highest count as equal (the rule of L. Breiman et al., Classification
    and Regression Trees, 1984): one image of 150 more is chance, while the loss also measures how sure each prediction
    is.

    Args:
        patience: epochs without a better one after which training stops; 0 for never.
        monitor: the metric that stands for accuracy, from `Objective.monitor`.
        images: the number of images that the metric rests on; 0 to count every difference.
        whole: the model whose weights are kept; None for the one that is trained, which may be a part of it.

    Attributes:
        epoch: the best epoch, from 1; 0 before the first one has ended.
        accuracy, loss: its metric and loss on the validation split.
        highest: the highest accuracy of any epoch.
        weights: its weights.
        stopped_early: whether patience ended the phase.
    """

    def __init__(self, patience: int, monitor: str = "accuracy", images: float = 0, whole: Any = None) -> None:
        super().__init__()
        self._whole = whole
        self.epoch, self.accuracy, self.loss, self.highest = 0, -1.0, math.inf, -1.0
        self.weights: list[Any] = []
        self.stopped_early = False
        self._patience, self._monitored, self._images = patience, f"val_{monitor}", images
        self._phase_start = 0

    def begin_phase(self, epochs: int) -> None:
        """Count patience anew for a phase that begins after `epochs` epochs."""
        self._phase_start, self.stopped_early = epochs, False

    def patience_exhausted(self, epochs: int) -> bool:
        """Whether patience has ended after `epochs` epochs."""
        return bool(self._patience) and epochs - max(self.epoch, self._phase_start) >= self._patience

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not math.isfinite((logs or {})["loss"]):
            raise DivergedError

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        accuracy, loss = float(logs[self._monitored]), float(logs["val_loss"])
        if not math.isfinite(loss):
            raise DivergedError
        self.highest = max(self.highest, accuracy)
        if self._is_better(accuracy, loss):
            weights = (self.model if self._whole is None else self._whole).get_weights()
            self.epoch, self.accuracy, self.loss, self.weights = epoch + 1, accuracy, loss, weights
        elif self.patience_exhausted(epoch + 1):
            self.stopped_early = self.model.stop_training = True

    def restore_state(self, checkpoint: Checkpoint) -> None:
        """Continue from where an earlier training stopped."""
        self.epoch, self.accuracy, self.loss = checkpoint.best_epoch, checkpoint.best_accuracy, checkpoint.best_loss
        self.weights = checkpoint.best
        self.highest = max(row[self._monitored] for row in checkpoint.history)

    def restore_weights(self, model: Any) -> None:
        """Give a model the weights of the best epoch."""
        model.set_weights(self.weights)

    def _is_better(self, accuracy: float, loss: float) -> bool:
        if not self._images:
            return (accuracy, -loss) > (self.accuracy, -self.loss)
        # Two right and two wrong are added (A. Agresti, B. Coull, 1998): an accuracy of 1 would have no error at all.
        share = (self.highest * self._images + 2) / (self._images + 4)
        least = self.highest - math.sqrt(share * (1 - share) / self._images)
        return accuracy >= least and (self.accuracy < least or loss < self.loss)


class EpochLogger(keras.callbacks.Callback):  # type: ignore[misc]
    """A progress bar over all epochs with the time left, one line an epoch, and the history.

    Attributes:
        rows: one an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, phase; and the
            other metrics of the task.
        phase: name of the phase that is trained; see `phases`.
        is_last_phase: whether none follows; an epoch of another phase takes another time.
    """

    def __init__(self, steps: int, epochs: int, rows: list[dict[str, Any]], monitor: str = "accuracy") -> None:
        super().__init__()
        self._monitor, self._metric_name = monitor, monitor.replace("_", " ")
        self.rows = list(rows)
        self.phase, self.is_last_phase = "", True
        self._open = False
        self._steps, self._epochs = steps, epochs
        self._bar = progress(steps * epochs, "training")
        self._steps_done = 0
        self._started = 0.0
        self._compiling = 0.0

    def restore_rows(self, rows: list[dict[str, Any]]) -> None:
        """Continue the history of an earlier training."""
        self.rows = list(rows)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self._open:  # one bar for all phases
            self._bar.__enter__()
            self._steps_done = self._steps * len(self.rows)  # of a resumed training
            self._open = True

    def close(self) -> None:
        """End the bar, however the training ended."""
        if self._open:
            self._bar.__exit__(None, None, None)

    def _rows_of_phase(self) -> list[dict[str, Any]]:
        """The rows of the phase that is trained."""
        return [row for row in self.rows if row["phase"] == self.phase]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        if batch == 0 and not self._rows_of_phase():  # the first step compiles the network
            self._compiling = time.perf_counter() - self._started
        figures = f"loss {logs['loss']:.4f}  {self._metric_name} {logs[self._monitor]:.4f}"
        self._bar.update(1 + self._steps_done, f"epoch {len(self.rows) + 1}/{self._epochs}  {figures}")
        self._steps_done = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(time.perf_counter() - self._started, 2)
        row["phase"] = self.phase
        self.rows.append(row)
        measured = ("loss", self._monitor, "val_loss", f"val_{self._monitor}")
        alike = self._rows_of_phase()
        seconds = sum(each["seconds"] for each in alike) - self._compiling
        seconds_left = seconds / len(alike) * (self._epochs - len(self.rows))
        left = f"{seconds_left:.0f} s left" if self.is_last_phase else "fine-tuning follows"
        _log.info(
            f"epoch {epoch + 1}/{self._epochs}  {'  '.join(f'{name} {row[name]:.4f}' for name in measured)}  {left}",
            extra={
                "figures": {
                    "epoch": f"{epoch + 1:{len(str(self._epochs))}}/{self._epochs}",
                    **{name: row[name] for name in measured},
                    "rate": row["learning_rate"],
                    "seconds": f"{row['seconds']:.{1 if row['seconds'] < 100 else 0}f}",
                }
            },
        )


class EpochSetter(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the number of the epoch that begins: Keras starts a new iteration of the passes right after."""

    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self._passes = passes

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._passes.epoch = epoch


class InterruptHandler(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training after Ctrl-C, between two batches or after a whole epoch; to be the last callback.

    As a context manager it handles the signal. A KeyboardInterrupt raised at a random place could leave an epoch that
    one callback knows and the next does not. A second Ctrl-C raises it at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pressed = False
        self._previous_handler: Any = None

    def __enter__(self) -> InterruptHandler:
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as under nohup
        if not ignored and threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)

    def _on_signal(self, *_signal: object) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.raise_if_pressed()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.raise_if_pressed()

    def raise_if_pressed(self) -> None:
        """Raise InterruptedTrainingError after Ctrl-C."""
        if self._pressed:
            raise InterruptedTrainingError
