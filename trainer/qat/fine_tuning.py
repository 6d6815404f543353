"""Training a network on, with its int8 file's rounding simulated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from ..fitting.callbacks import BestEpoch, CtrlC, DivergedError, EpochLog, EpochSetter, InterruptedTrainingError
from ..fitting.input_pipeline import Passes
from .folding import fold
from .simulation import Simulation
from .steps import steps

PHASE = "quantization-aware"
#: Ranges are taken anew so many times an epoch, but not for fewer steps than this.
_CALIBRATIONS, _LEAST_STEPS = 20, 10


@dataclass(frozen=True)
class Material:
    """What a network is trained on.

    Attributes:
        passes: over the training split.
        validation: a `tf.data.Dataset` of (pictures, targets), and maybe weights, by which the best epoch is chosen.
        calibration: one of (pictures, targets) of the training split, from which the ranges of activations are taken.
        input_range: least and greatest value that the scaled input can have; None to take those seen.
    """

    passes: Passes
    validation: Any
    calibration: Any
    input_range: tuple[float, float] | None


@dataclass(frozen=True)
class Tuned:
    """What it brought.

    Attributes:
        network: a plain Keras model without batch normalization; None where no epoch was better than none.
        before, after: what is monitored, on the validation split and by the simulated int8 file: at the beginning,
            and of the best epoch; equal where there is none.
        epochs: how many were trained to their end.
        epoch: the best one, counted on from those of the ordinary training; 0 where none was better than none.
        stopped: `"interrupted"` or `"diverged"` where that ended it, else `""`.
    """

    network: Any
    before: float
    after: float
    epochs: int
    epoch: int
    stopped: str

    def figures(self, trained: float) -> dict[str, Any]:
        """For `metrics.json`, beside what the ordinary training reached in float32."""
        return {
            "validation_float32_before": trained,
            "validation_int8_before": self.before,
            "validation_int8_after": self.after,
            "epochs": self.epochs,
            "kept": self.network is not None,
            "stopped": self.stopped,
        }


def check(model: Any) -> None:
    """Refuse a network that cannot be simulated, before time is spent on it.

    Raises:
        TrainingError: it names the layer.
    """
    steps(fold(model))


def fine_tune(
    model: Any, material: Material, epochs: int, settings: dict[str, Any], best: BestEpoch, log: EpochLog
) -> Tuned:
    """Train a copy of a network so that its int8 file answers better.

    Batch normalization is folded first and stays as it is. Weights and activations are rounded as the exporter's
    converter does it, with gradients that pass straight through; see `simulation`. The epoch with the best figures of
    the simulation on the validation split is kept, if it is better than the beginning. Ctrl-C, or a loss that is no
    number, ends it with the best so far.

    Args:
        model: a trained model that `check` lets pass; it stays as it is.
        settings: for `compile`: optimizer, loss, metrics, and maybe weighted_metrics.
        best: a new one; it has the best epoch afterwards, counted on from the log's, 0 for the beginning.
        log: with the rows of the training before; gets one an epoch, whose `phase` is `PHASE`.
    """
    simulation = Simulation(fold(model), material.input_range)
    simulation.compile(**settings, jit_compile=False)
    pictures = _Pictures(material.calibration)
    simulation.calibrate(pictures)
    before = _judge(simulation, material.validation, best)
    done, stopped = len(log.rows), ""
    log.phase = PHASE
    calibrator = _Calibrator(simulation, pictures, len(material.passes))
    try:
        with CtrlC() as ctrl_c:
            simulation.fit(
                material.passes.batches,
                validation_data=material.validation,
                initial_epoch=done,
                epochs=done + epochs,
                shuffle=False,
                verbose=0,
                callbacks=[EpochSetter(material.passes), calibrator, best, log, ctrl_c],
            )
    except InterruptedTrainingError:
        stopped = "interrupted"
    except DivergedError:
        stopped = "diverged"
    finally:
        log.close()
    best.restore(simulation)
    network = simulation.network if best.epoch else None
    return Tuned(network, before, best.accuracy, len(log.rows) - done, best.epoch, stopped)


def _judge(simulation: Simulation, validation: Any, best: BestEpoch) -> float:
    """Let the beginning be the best epoch so far, number 0."""
    figures = simulation.evaluate(validation, verbose=0, return_dict=True)
    best.set_model(simulation)
    best.on_epoch_end(-1, {f"val_{name}": value for name, value in figures.items()})
    return best.accuracy


class _Pictures:
    """The pictures alone of a data set of (pictures, targets), batch by batch, again and again."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return (batch[0] for batch in self._batches)


class _Calibrator(keras.callbacks.Callback):  # type: ignore[misc]
    """Takes the ranges anew as the weights change: some times an epoch, and before the epoch is judged."""

    def __init__(self, simulation: Simulation, pictures: _Pictures, steps: int) -> None:
        super().__init__()
        self._simulation, self._pictures = simulation, pictures
        self._every = max(_LEAST_STEPS, steps // _CALIBRATIONS)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch and batch % self._every == 0:
            self._simulation.calibrate(self._pictures)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._simulation.calibrate(self._pictures)
