"""`--minutes`: as many epochs as fit into a time, measured on the model, the data and the machine at hand."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import keras

from ..config import TrainingConfig
from ..data import Dataset
from ..errors import TrainingError
from ..session import TrainingSession, prepare
from . import phases
from .optimizers import make_optimizer

#: Of the budget, for measuring steps; what is learned in them is thrown away.
_MEASURING_SHARE = 0.04
#: Steps that are not measured, since TensorFlow traces and allocates in them; the fewest that are, and enough of them.
_FIRST, _FEWEST, _ENOUGH = 3, 5, 200
#: Passes while the clock is to end them.
_ENDLESS = 10**6


class _Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training when its steps were measured for long enough.

    Attributes:
        first: seconds until the first steps were done.
        step: seconds of each step after them, in whatever pass; what lies between two passes is part of it.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.first, self.step = 0.0, 0.0
        self._seconds, self._started, self._done = seconds, time.perf_counter(), 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._done += 1
        spent = time.perf_counter() - self._started
        if self._done <= _FIRST:
            self.first = spent
            return
        measured = self._done - _FIRST
        self.step = (spent - self.first) / measured
        if measured >= _ENOUGH or (measured >= _FEWEST and spent - self.first >= self._seconds):
            self.model.stop_training = True


def fit_into(spec: TrainingConfig, dataset: Dataset, seconds: float, swept: int = 0) -> TrainingConfig:
    """The spec with the epochs, and the steps of each, that take so many seconds, validation and this call counted in.

    The cosine then ends where the time does. Passes are shortened, each to the same number of steps, so that none of
    the time is left over; each still draws its pictures from the whole split. What is measured is the machine as it is
    now: where another load comes or goes, the training ends later or earlier.

    Args:
        swept: steps of a sweep over learning rates that the time is to hold too.

    Raises:
        DatasetError: the data set is too small to split, or a picture of it cannot be read any more.
        TrainingError: too little time for even one step.
    """
    began = time.perf_counter()
    prepared = prepare(spec, dataset)
    phases.set_trainable(prepared.model, phases.plan(spec)[-1])  # that in which most is learned, and a step is longest
    prepared.model.compile(optimizer=make_optimizer(spec, 1e-6), **prepared.judged)
    clock = _Clock(_MEASURING_SHARE * seconds)
    with prepared.pipeline.told():
        prepared.model.fit(prepared.passes.batches, epochs=_ENDLESS, shuffle=False, verbose=0, callbacks=[clock])
        validation = _seconds_of_validation(prepared, clock.step)
    step = clock.step
    # Traced once more in the training itself, and in a sweep.
    sweep = swept * step + clock.first if swept else 0.0
    measured = time.perf_counter() - began
    left = seconds - measured - clock.first - sweep
    if left <= 0:
        told = f", and the sweep over learning rates will take {sweep:.2g} s" if swept else ""
        raise TrainingError(f"--minutes: to measure this took {measured:.2g} s{told}: none are left; give more minutes")
    epochs, steps = shared_out(left, step, validation, len(prepared.passes))
    return replace(spec, epochs=epochs, steps_per_epoch=steps)


def _seconds_of_validation(prepared: TrainingSession, step: float) -> float:
    """Of a whole validation split, measured on a few batches."""
    batches = prepared.validation
    count = len(batches)
    few = batches.take(min(count, max(2, round(1 / step))))
    prepared.model.evaluate(batches.take(1), verbose=0)  # traced
    began = time.perf_counter()
    prepared.model.evaluate(few, verbose=0)
    return (time.perf_counter() - began) * count / len(few)


def shared_out(seconds: float, step: float, validation: float, most: int) -> tuple[int, int]:
    """Epochs, and the steps of each, that take so many seconds.

    Args:
        step, validation: seconds of a step, and of a validation after an epoch.
        most: the steps of a whole pass.

    Raises:
        TrainingError: not even one step fits.
    """
    epochs = max(1, math.ceil(seconds / (most * step + validation)))
    steps = min(most, math.floor((seconds / epochs - validation) / step))
    if steps < 1:
        raise TrainingError(
            f"--minutes: a step takes {step:.2g} s and validation {validation:.2g} s, too long for the time that is "
            "left; give more minutes, or choose a smaller network"
        )
    return epochs, steps
