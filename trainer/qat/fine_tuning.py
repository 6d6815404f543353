"""Quantization-aware fine-tuning: training a network further with the rounding of its int8 file simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from runtime import FeaturesInput
from runtime.input_spec import InputSpec

from ..config import TrainingConfig
from ..fitting.callbacks import (
    BestEpochKeeper,
    DivergedError,
    EpochLogger,
    EpochSetter,
    InterruptedTrainingError,
    InterruptHandler,
)
from ..fitting.input_pipeline import Passes
from ..fitting.objective import Objective
from ..fitting.phases import plan_phases
from .folding import fold_batch_norm
from .simulation import Simulation
from .steps import simulation_steps

_PHASE = "quantization-aware"
#: The number of updates of the activation ranges in an epoch, and the fewest steps between two of them.
_RANGE_UPDATES, _LEAST_STEPS = 20, 10
#: The highest rate, as a share of that of the ordinary training's last phase; it falls to 0 along a cosine.
_RATE_SHARE = 0.3
#: Default epochs, as a share of the ordinary ones, and their minimum.
_SHARE_OF_EPOCHS, _LEAST_EPOCHS = 0.2, 2


@dataclass(frozen=True)
class FineTuningData:
    """The data that a network is fine-tuned on.

    Attributes:
        passes: batches of the training split.
        validation: a `tf.data.Dataset` of (images, targets) or (images, targets, weights) that chooses the best epoch.
        representative: a `tf.data.Dataset` of (images, targets) of the training split that sets the activation ranges.
        input_range: least and greatest possible value of the scaled input; None to take those of `representative`.
    """

    passes: Passes
    validation: Any
    representative: Any
    input_range: tuple[float, float] | None


@dataclass(frozen=True)
class FineTuningResult:
    """The result of quantization-aware fine-tuning.

    Attributes:
        network: a plain Keras model without batch normalization; None if no epoch improved on the start.
        before, after: the monitored metric of the simulated int8 file on the validation split, at the start and for the
            best epoch; equal if no epoch improved on the start.
        epochs: the number of complete epochs.
        best_epoch: the best one, counted on from the ordinary training; 0 if no epoch improved on the start.
        stopped: `"interrupted"` or `"diverged"` if that ended it, otherwise `""`.
    """

    network: Any
    before: float
    after: float
    epochs: int
    best_epoch: int
    stopped: str

    def figures(self, float32: float) -> dict[str, Any]:
        """Figures for `metrics.json`, with the metric that the ordinary training reached in float32."""
        return {
            "validation_float32_before": float32,
            "validation_int8_before": self.before,
            "validation_int8_after": self.after,
            "epochs": self.epochs,
            "kept": self.network is not None,
            "stopped": self.stopped,
        }


def check_simulable(model: Any) -> None:
    """Refuse a network that cannot be simulated, before time is spent on it.

    Raises:
        TrainingError: the message names the layer.
    """
    simulation_steps(fold_batch_norm(model))


def input_range(spec: InputSpec) -> tuple[float, float] | None:
    """Least and greatest value of a scaled image, whose mean and std are the same for all channels.

    None for features, whose range comes from the data.
    """
    if isinstance(spec, FeaturesInput):
        return None
    least, greatest = ((pixel - spec.mean[0]) / spec.std[0] for pixel in (0, 255))
    return least, greatest


def default_fine_tuning_epochs(epochs: int) -> int:
    """Epochs of fine-tuning after a training of `epochs` epochs: a fifth of them, at least two."""
    return max(_LEAST_EPOCHS, round(epochs * _SHARE_OF_EPOCHS))


def fine_tune(
    model: Any,
    data: FineTuningData,
    objective: Objective,
    config: TrainingConfig,
    log: EpochLogger,
    make_optimizer: Callable[[Any], Any],
) -> FineTuningResult:
    """Train a copy of a network so that its int8 file gets better scores.

    Batch normalization is folded first and stays as it is. Weights and activations are rounded as the exporter's
    converter rounds them, with gradients that pass straight through; see `simulation`. The epoch with the best metric
    of the simulation on the validation split is kept, if it is better than the start. Ctrl-C, or a loss that is not a
    number, ends it with the best epoch so far.

    Args:
        model: a trained model that `check_simulable` accepts; it is not changed.
        log: the log of the ordinary training; gets a row an epoch, whose `phase` is `"quantization-aware"`.
        make_optimizer: from a learning rate or a schedule.
    """
    epochs = config.quantization_aware_epochs or default_fine_tuning_epochs(config.epochs)
    # The last phase's rate: a pretrained backbone is fine-tuned at a lower one.
    rate = _RATE_SHARE * plan_phases(config)[-1].learning_rate
    schedule = keras.optimizers.schedules.CosineDecay(rate, len(data.passes) * epochs)
    best = BestEpochKeeper(0, objective.monitor)
    continued = EpochLogger(len(data.passes), len(log.rows) + epochs, log.rows, objective.monitor)
    continued.phase = _PHASE
    simulation = Simulation(fold_batch_norm(model), data.input_range)
    objective.compile(simulation, make_optimizer(schedule), jit_compile=False)
    simulation.calibrate(_images(data.representative))
    before = _measure_start(simulation, data.validation, best)
    stopped = _fit(simulation, data, epochs, best, continued)
    best.restore_weights(simulation)
    network = simulation.network if best.epoch else None
    done, log.rows = len(continued.rows) - len(log.rows), continued.rows
    return FineTuningResult(network, before, best.accuracy, done, best.epoch, stopped)


def _fit(simulation: Simulation, data: FineTuningData, epochs: int, best: BestEpochKeeper, log: EpochLogger) -> str:
    """Train the simulation; `FineTuningResult.stopped`."""
    updater, first = _RangeUpdater(simulation, data), len(log.rows)
    try:
        with InterruptHandler() as interrupt_handler:
            simulation.fit(
                data.passes.batches,
                validation_data=data.validation,
                initial_epoch=first,
                epochs=first + epochs,
                shuffle=False,
                verbose=0,
                callbacks=[EpochSetter(data.passes), updater, best, log, interrupt_handler],
            )
    except InterruptedTrainingError:
        return "interrupted"
    except DivergedError:
        return "diverged"
    finally:
        log.close()
    return ""


def _measure_start(simulation: Simulation, validation: Any, best: BestEpochKeeper) -> float:
    """Record the start as the best epoch so far, with the number 0; its metric."""
    figures = simulation.evaluate(validation, verbose=0, return_dict=True)
    best.set_model(simulation)
    best.on_epoch_end(-1, {f"val_{name}": value for name, value in figures.items()})
    return best.accuracy


def _images(batches: Any) -> Iterator[Any]:
    return (batch[0] for batch in batches)


class _RangeUpdater(keras.callbacks.Callback):  # type: ignore[misc]
    """Updates the activation ranges as the weights change: several times an epoch, and before validation."""

    def __init__(self, simulation: Simulation, data: FineTuningData) -> None:
        super().__init__()
        self._simulation, self._representative = simulation, data.representative
        self._interval = max(_LEAST_STEPS, len(data.passes) // _RANGE_UPDATES)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch and batch % self._interval == 0:
            self._simulation.calibrate(_images(self._representative))

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._simulation.calibrate(_images(self._representative))
