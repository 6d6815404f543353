"""Looking for the learning rate: a short training whose rate rises, and where its loss falls.

Source: L. N. Smith, Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from runtime.progress import progress

from ..config import TrainingConfig
from ..data import Dataset
from ..errors import TrainingError
from ..session import prepare
from .input_pipeline import Passes
from .optimizers import make_optimizer

Floats = npt.NDArray[np.float64]

LOWEST, HIGHEST = 1e-6, 1.0
STEPS = 300
#: Where the loss has risen to so many times its least, nothing is learned from higher rates.
_HOPELESS = 4.0
#: Of the smoothing's Gaussian, as a share of the steps: a batch's own luck is gone, the valley's width stays.
_SMOOTHING = 0.03
#: Steps without which there is no curve to speak of.
_FEWEST = 10


@dataclass(frozen=True)
class Sweep:
    """What a sweep saw.

    Attributes:
        rates: float64, shape (steps,), rising; fewer than asked for where the loss went through the roof.
        losses: of the batch trained at each rate, before its step.
        smoothed: the same without the batches' own luck.
        steepest: the rate at which the smoothed loss falls fastest.
        minimum: the rate at which it is least.
    """

    rates: Floats
    losses: Floats
    smoothed: Floats
    steepest: float
    minimum: float

    @property
    def suggestion(self) -> float:
        """A tenth of the minimum's rate: what `--learning-rate auto` takes."""
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


def sweep(spec: TrainingConfig, dataset: Dataset, steps: int = STEPS) -> Sweep:
    """Train an untrained model for some steps, the rate rising from 1e-6 to 1 by the same factor at each.

    A data set with fewer batches is gone through again, and whole passes are taken, whatever `steps_per_epoch` says:
    `--minutes` settles that afterwards, and a training that goes on is to find the same rate. The test split is not
    touched.

    Raises:
        DatasetError: the data set is too small to split, or a picture of it cannot be read any more.
        TrainingError: settings out of range, or a loss that never falls.
    """
    prepared = prepare(replace(spec, steps_per_epoch=0), dataset)
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    prepared.model.compile(optimizer=make_optimizer(spec, LOWEST), loss=prepared.judged["loss"])
    losses: list[float] = []
    with progress(steps, "looking for a learning rate") as bar:
        rise = _Rise(rates, losses, prepared.passes, bar)
        epochs = math.ceil(steps / len(prepared.passes))
        with prepared.pipeline.told():
            prepared.model.fit(prepared.passes.batches, epochs=epochs, shuffle=False, verbose=0, callbacks=[rise])
    return read_sweep(rates[: len(losses)], np.array(losses))


class _Rise(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the rate of each step and notes its loss."""

    def __init__(self, rates: Floats, losses: list[float], passes: Passes, bar: Any) -> None:
        super().__init__()
        self._rates, self._losses, self._passes, self._bar = rates, losses, passes, bar
        self._least = math.inf

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._passes.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not self.model.stop_training:
            self.model.optimizer.learning_rate = self._rates[len(self._losses)]
        # Keras tells the mean over the epoch so far; without a past it is that of this batch.
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {})["loss"]
        if self.model.stop_training:  # Keras ends the epoch first
            return
        if math.isfinite(loss):
            self._losses.append(loss)
            self._bar.update(1)
            self._least = min(self._least, loss)
        hopeless = not loss < _HOPELESS * self._least  # NaN too
        if hopeless or len(self._losses) == len(self._rates):
            self.model.stop_training = True


def read_sweep(rates: Floats, losses: Floats) -> Sweep:
    """Where a curve of losses over rising rates is steepest, and where it is least.

    Raises:
        TrainingError: it is too short, or never falls.
    """
    if len(losses) < _FEWEST:
        raise TrainingError(
            f"the loss was beyond all bounds after {len(losses)} steps of the sweep, at a learning rate of "
            f"{rates[-1] if len(rates) else LOWEST:.1g}; look at the model and the data"
        )
    smoothed = _smooth(losses, max(1.0, _SMOOTHING * len(losses)))
    lowest = int(smoothed.argmin())
    slopes = np.gradient(smoothed, np.log(rates))
    noise = float(np.std(losses[: lowest + 1] - smoothed[: lowest + 1]))
    if smoothed[0] - smoothed[lowest] <= noise:
        raise TrainingError("the loss never fell, at no learning rate from 1e-06 to 1; look at the model and the data")
    steepest = int(slopes[: lowest + 1].argmin())
    return Sweep(rates, losses, smoothed, float(rates[steepest]), float(rates[lowest]))


def _smooth(values: Floats, width: float) -> Floats:
    """Means weighed by a Gaussian around each value: unlike a running mean, they do not lag behind."""
    reach = math.ceil(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    kernel /= kernel.sum()
    # At the ends, over what there is on one side.
    weights = np.convolve(np.ones(len(values)), kernel, mode="full")
    sums = np.convolve(values, kernel, mode="full")
    smoothed: Floats = (sums / weights)[reach : reach + len(values)]
    return smoothed
