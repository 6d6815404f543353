"""The time budget: as many epochs as fit into a given time, measured with the model, the data and the machine."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import keras

from .cached_head import can_cache
from .config import TrainingConfig
from .data import Dataset
from .errors import TrainingError
from .fitting import phases
from .fitting.optimizers import make_optimizer
from .session import TrainingSession, prepare_session

#: Share of the budget for measuring steps; the weights learned in them are discarded.
_MEASURING_SHARE = 0.04
#: First steps, which are not measured since TensorFlow traces and allocates in them; fewest and most measured steps.
_WARM_UP_STEPS, _FEWEST_STEPS, _MOST_STEPS = 3, 5, 200
#: More epochs than can pass before the clock ends the training.
_ENDLESS = 10**6


class _StepClock(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training when its steps have been measured for long enough.

    Attributes:
        warm_up: seconds of the first steps together.
        step: mean seconds of each step after them, the time between two passes included.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.warm_up, self.step = 0.0, 0.0
        self._seconds, self._started, self._done = seconds, time.perf_counter(), 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._done += 1
        spent = time.perf_counter() - self._started
        if self._done <= _WARM_UP_STEPS:
            self.warm_up = spent
            return
        measured = self._done - _WARM_UP_STEPS
        self.step = (spent - self.warm_up) / measured
        if measured >= _MOST_STEPS or (measured >= _FEWEST_STEPS and spent - self.warm_up >= self._seconds):
            self.model.stop_training = True


def fit_to_time(dataset: Dataset, config: TrainingConfig, seconds: float, sweep_steps: int = 0) -> TrainingConfig:
    """The configuration with the epochs, and the steps of each, that take so many seconds.

    Validation and the time of this call are included, so that the learning rate's cosine ends with the time. All
    passes are shortened to the same number of steps, and each still draws its images from the whole split. The
    measurement holds for the machine's present load: a load that comes or goes moves the end of the training.

    Args:
        seconds: the time for everything.
        sweep_steps: steps of a sweep over learning rates that the time must include.

    Raises:
        DatasetError: the data set is too small to split, or an image cannot be read any more.
        TrainingError: too little time for even one step.
    """
    began = time.perf_counter()
    session = prepare_session(dataset, config)
    plan = phases.plan_phases(config)
    phases.set_trainable(session.model, plan[-1])  # the most layers learn in the last phase
    session.objective.compile(session.model, make_optimizer(config, 1e-6))
    clock = _StepClock(_MEASURING_SHARE * seconds)
    with session.pipeline.dataset_errors():
        session.model.fit(session.passes.batches, epochs=_ENDLESS, shuffle=False, verbose=0, callbacks=[clock])
        validation = _validation_seconds(session, clock.step)
    # The training itself, and a sweep, each trace the model once more.
    sweep = sweep_steps * clock.step + clock.warm_up if sweep_steps else 0.0
    measured = time.perf_counter() - began
    remaining = seconds - measured - clock.warm_up - sweep
    if remaining <= 0:
        note = f", and the sweep over learning rates will take {sweep:.2g} s" if sweep else ""
        raise TrainingError(
            f"`seconds`: measuring the speed took {measured:.2g} s{note}: none are left; give more minutes"
        )
    has_cached_head = len(plan) > 1 and can_cache(session)
    if has_cached_head:  # its features take less than an epoch, and its epochs next to nothing
        remaining -= min(remaining / 4, clock.step * len(session.passes) + validation)
    epochs, steps = epochs_and_steps(remaining, clock.step, validation, len(session.passes))
    if has_cached_head:
        epochs = phases.with_head_epochs(config, epochs)
    return replace(config, epochs=epochs, steps_per_epoch=steps)


def _validation_seconds(session: TrainingSession, step: float) -> float:
    """The time to evaluate the whole validation split, estimated from a few batches."""
    batches = session.validation
    count = len(batches)
    few = batches.take(min(count, max(2, round(1 / step))))
    session.model.evaluate(batches.take(1), verbose=0)  # so that tracing is not measured
    began = time.perf_counter()
    session.model.evaluate(few, verbose=0)
    return (time.perf_counter() - began) * count / len(few)


def epochs_and_steps(seconds: float, step: float, validation: float, full_pass: int) -> tuple[int, int]:
    """Divide a time into epochs, and give the steps of each.

    Args:
        step, validation: seconds of a step, and of the validation after each epoch.
        full_pass: the steps of a pass over the whole training split.

    Raises:
        TrainingError: not even one step fits.
    """
    epochs = max(1, math.ceil(seconds / (full_pass * step + validation)))
    steps = min(full_pass, math.floor((seconds / epochs - validation) / step))
    if steps < 1:
        raise TrainingError(
            f"`seconds`: a step takes {step:.2g} s and validation {validation:.2g} s, too long for the time that is "
            "left; give more minutes, or choose a smaller network"
        )
    return epochs, steps
