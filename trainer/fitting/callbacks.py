"""What watches a training: the log with the time left, the keeper of the best epoch, the checkpoint after each."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import click
import keras

from runtime.progress import progress

from .checkpoint import Checkpoint
from .input_pipeline import Passes


class DivergedError(Exception):
    """The loss became infinite or no number; `training.train` turns it into an answer."""


class InterruptedTrainingError(Exception):
    """Ctrl-C ended the training between two batches; `training.train` turns it into an answer."""


class BestEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the best epoch: of those as accurate as any, the one with the lowest loss.

    Accuracies within one standard error of the highest are the same (the rule of L. Breiman et al., Classification and
    Regression Trees, 1984): of 150 images one more is chance, while the loss counts how sure each answer was.

    Args:
        patience: epochs without a better one after which training stops; 0 for never.
        monitor: what stands for accuracy: the task's own metric, from `tasks.monitored`.
        images: that its figures rest on; 0 to take every difference for one.

    Attributes:
        epoch: the best one, from 1; 0 where none has ended yet.
        accuracy, loss: its figures on the validation split.
        highest: the highest accuracy of any epoch.
        weights: its weights.
    """

    def __init__(self, patience: int, monitor: str = "accuracy", images: float = 0) -> None:
        super().__init__()
        self.epoch, self.accuracy, self.loss, self.highest = 0, -1.0, math.inf, -1.0
        self.weights: list[Any] = []
        self.stopped_early = False
        self._patience, self._monitored, self._images = patience, f"val_{monitor}", images
        self._since = 0

    def begin_phase(self, after: int) -> None:
        """Count patience anew, from the epoch after which a phase began."""
        self._since, self.stopped_early = after, False

    def is_worn_out(self, epochs: int) -> bool:
        """Whether patience has ended after so many epochs."""
        return bool(self._patience) and epochs - max(self.epoch, self._since) >= self._patience

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
            weights = self.model.get_weights()
            self.epoch, self.accuracy, self.loss, self.weights = epoch + 1, accuracy, loss, weights
        elif self.is_worn_out(epoch + 1):
            self.stopped_early = self.model.stop_training = True

    def go_back(self, past: Checkpoint) -> None:
        """Stand where an earlier training stood."""
        self.epoch, self.accuracy, self.loss = past.best_epoch, past.best_accuracy, past.best_loss
        self.weights = past.best
        self.highest = max(row[self._monitored] for row in past.history)

    def _is_better(self, accuracy: float, loss: float) -> bool:
        if not self._images:
            return (accuracy, -loss) > (self.accuracy, -self.loss)
        # Two right and two wrong more (A. Agresti, B. Coull, 1998): where all are right there would be no error at all.
        share = (self.highest * self._images + 2) / (self._images + 4)
        least = self.highest - math.sqrt(share * (1 - share) / self._images)
        return accuracy >= least and (self.accuracy < least or loss < self.loss)

    def restore(self, model: Any) -> None:
        """Give a model the best epoch's weights."""
        model.set_weights(self.weights)


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """A progress bar over all epochs with the time left, and one line an epoch.

    Attributes:
        rows: one an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, phase; and the
            other metrics of the task.
        phase: which one is trained; see `phases`.
    """

    def __init__(self, steps: int, epochs: int, rows: list[dict[str, Any]], monitor: str = "accuracy") -> None:
        super().__init__()
        self._monitor, self._told = monitor, monitor.replace("_", " ")
        self.rows = list(rows)
        self.phase = ""
        self._open = False
        self._epochs = epochs
        self._bar = progress(steps * epochs, "training")
        self._done = steps * len(rows)
        self._started = 0.0
        self._status = ""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self._open:  # once, for all phases
            self._bar.__enter__()
            self._bar.update(self._done)
            self._open = True

    def close(self) -> None:
        """End the bar, however the training ended."""
        if self._open:
            self._bar.__exit__(None, None, None)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        epoch = len(self.rows) + 1
        figures = f"loss {logs['loss']:.4f} {self._told} {logs[self._monitor]:.4f}"
        self._bar.update(1, f"epoch {epoch}/{self._epochs} {figures}{self._status}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(time.perf_counter() - self._started, 2)
        row["phase"] = self.phase
        self.rows.append(row)
        self._status = f" val {row[f'val_{self._monitor}']:.4f}"
        if not sys.stderr.isatty():  # the bar shows it where somebody watches
            left = sum(r["seconds"] for r in self.rows) / len(self.rows) * (self._epochs - len(self.rows))
            click.echo(
                f"epoch {epoch + 1}/{self._epochs}  loss {row['loss']:.4f}  {self._monitor} {row[self._monitor]:.4f}  "
                f"val_loss {row['val_loss']:.4f}  val_{self._monitor} {row[f'val_{self._monitor}']:.4f}  "
                f"{left:.0f} s left",
                err=True,
            )


class EpochSetter(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the passes which epoch begins: Keras starts a new iteration right after."""

    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self._passes = passes

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._passes.epoch = epoch


class CtrlC(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training between two batches, or after a whole epoch, once Ctrl-C was pressed: the last in the list.

    As a context manager it takes the signal. Raised wherever it falls, a KeyboardInterrupt could leave an epoch known
    to one callback and unknown to the next. Pressed again, it is raised at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pressed = False
        self._before: Any = None

    def __enter__(self) -> CtrlC:
        heard = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # as under nohup
        if heard and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, *_signal: object) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._stop()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._pressed:
            raise InterruptedTrainingError


class AfterEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls a function at the end of each epoch; to be late in the list, when the others have seen it."""

    def __init__(self, function: Callable[[], None]) -> None:
        super().__init__()
        self._function = function

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._function()
