"""The learning rate finder: a short training with a rising rate shows where the loss falls.

Source: L. N. Smith, Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from runtime.progress import Progress, progress

from .config import TrainingConfig
from .data import Dataset
from .errors import TrainingError
from .fitting.input_pipeline import Passes
from .fitting.optimizers import make_optimizer
from .session import prepare_session

_Curve = npt.NDArray[np.float64]

LOWEST_RATE, HIGHEST_RATE = 1e-6, 1.0
SWEEP_STEPS = 300
#: The sweep ends when the loss exceeds its minimum by this factor: nothing is learned at higher rates.
_DIVERGED = 4.0
#: Width of the smoothing Gaussian as a share of the steps: it averages out single batches and keeps the valley's width.
_SMOOTHING = 0.03
#: The fewest steps that make a curve.
_FEWEST_STEPS = 10


@dataclass(frozen=True)
class LearningRateSweep:
    """The loss over rising learning rates.

    Attributes:
        rates: float64, shape (steps,), rising; fewer than requested if the loss diverged.
        losses: float64, shape (steps,): loss of the batch at each rate, before its step.
        smoothed: the losses smoothed over neighbouring rates.
        steepest: the rate at which the smoothed loss falls fastest.
        minimum: the rate at which it is lowest.
    """

    rates: _Curve
    losses: _Curve
    smoothed: _Curve
    steepest: float
    minimum: float

    @property
    def suggestion(self) -> float:
        """A tenth of the minimum's rate."""
        return self.minimum / 10

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "suggestion": self.suggestion,
            "steepest": self.steepest,
            "minimum": self.minimum,
            "rates": self.rates.tolist(),
            "losses": self.losses.tolist(),
            "smoothed": self.smoothed.tolist(),
        }


def sweep_learning_rates(dataset: Dataset, config: TrainingConfig, steps: int = SWEEP_STEPS) -> LearningRateSweep:
    """Train a new model for some steps, with a rate that rises from 1e-6 to 1 by the same factor at each step.

    A data set with fewer batches is used several times. `config.steps_per_epoch` is ignored: a time budget sets it
    later, and a resumed training must find the same rate. The test split is not used.

    Raises:
        DatasetError: the data set is too small to split, or an image cannot be read any more.
        TrainingError: settings out of range, or a loss that never falls.
    """
    session = prepare_session(dataset, replace(config, steps_per_epoch=0))
    rates = np.geomspace(LOWEST_RATE, HIGHEST_RATE, steps)
    optimizer = make_optimizer(config, LOWEST_RATE)
    session.model.compile(optimizer=optimizer, loss=session.objective.compile_options["loss"])
    losses: list[float] = []
    with progress(steps, "looking for a learning rate") as bar:
        rising = _RisingRate(rates, losses, session.passes, bar)
        epochs = math.ceil(steps / len(session.passes))
        with session.pipeline.dataset_errors():
            session.model.fit(session.passes.batches, epochs=epochs, shuffle=False, verbose=0, callbacks=[rising])
    return analyse_sweep(rates[: len(losses)], np.array(losses))


class _RisingRate(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the rate of each step and records its loss."""

    def __init__(self, rates: _Curve, losses: list[float], passes: Passes, bar: Progress) -> None:
        super().__init__()
        self._rates, self._losses, self._passes, self._bar = rates, losses, passes, bar
        self._least = math.inf

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._passes.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not self.model.stop_training:
            self.model.optimizer.learning_rate = self._rates[len(self._losses)]
        # Keras reports the mean over the epoch so far; after a reset it is the loss of this batch.
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {})["loss"]
        if self.model.stop_training:  # Keras completes the epoch first
            return
        if math.isfinite(loss):
            self._losses.append(loss)
            self._bar.update(1)
            self._least = min(self._least, loss)
        diverged = not loss < _DIVERGED * self._least  # also if the loss is NaN
        if diverged or len(self._losses) == len(self._rates):
            self.model.stop_training = True


def analyse_sweep(rates: _Curve, losses: _Curve) -> LearningRateSweep:
    """Find where the loss over rising rates is steepest, and where it is lowest.

    Raises:
        TrainingError: the curve is too short, or never falls.
    """
    if len(losses) < _FEWEST_STEPS:
        raise TrainingError(
            f"the loss was beyond all bounds after {len(losses)} steps of the sweep, at a learning rate of "
            f"{rates[-1] if len(rates) else LOWEST_RATE:.1g}; look at the model and the data"
        )
    smoothed = _smooth(losses, max(1.0, _SMOOTHING * len(losses)))
    lowest = int(smoothed.argmin())
    slopes = np.gradient(smoothed, np.log(rates))
    noise = float(np.std(losses[: lowest + 1] - smoothed[: lowest + 1]))
    if smoothed[0] - smoothed[lowest] <= noise:
        raise TrainingError("the loss never fell, at no learning rate from 1e-06 to 1; look at the model and the data")
    steepest = int(slopes[: lowest + 1].argmin())
    return LearningRateSweep(rates, losses, smoothed, float(rates[steepest]), float(rates[lowest]))


def _smooth(values: _Curve, width: float) -> _Curve:
    """Means with Gaussian weights around each value: unlike a running mean, they do not lag behind."""
    reach = math.ceil(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    kernel /= kernel.sum()
    # At the ends the mean is taken over the values that exist.
    weights = np.convolve(np.ones(len(values)), kernel, mode="full")
    sums = np.convolve(values, kernel, mode="full")
    smoothed: _Curve = (sums / weights)[reach : reach + len(values)]
    return smoothed
