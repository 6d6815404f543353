"""The quantization-aware phase of a training: what it is given, and how long and how fast it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from runtime import FeaturesInput
from runtime.input_spec import InputSpec

from ..config import TrainingConfig
from ..fitting import phases
from ..fitting.callbacks import BestEpoch, EpochLog
from .fine_tuning import Material, Tuned, fine_tune

if TYPE_CHECKING:
    from ..session import TrainingSession

#: Training pictures from which ranges are taken: as many as the exporter shows the converter.
_CALIBRATION_PICTURES = 500
#: Of the highest rate of the ordinary training's last phase; it falls to 0 along a cosine.
_RATE_SHARE = 0.3
#: Of the ordinary epochs, and never fewer than the second number.
_SHARE_OF_EPOCHS, _LEAST_EPOCHS = 0.2, 2


def after_training(
    prepared: TrainingSession, model: Any, spec: TrainingConfig, log: EpochLog, make_optimizer: Callable[[Any], Any]
) -> Tuned:
    """Train a model on with its int8 file simulated; see `fine_tuning.fine_tune`.

    Args:
        model: as the ordinary training left it; it stays so.
        log: of that training; gets a row an epoch.
        make_optimizer: from a learning rate or a schedule.
    """
    passes, pipeline, splits = prepared.passes, prepared.pipeline, prepared.splits
    epochs = spec.quantization_aware_epochs or default_epochs(spec.epochs)
    chosen = np.random.default_rng(spec.seed).permutation(splits.train)[:_CALIBRATION_PICTURES]
    limits = input_range(prepared.contract.input)
    material = Material(passes, prepared.validation, pipeline.batches(chosen), limits)
    rate = _RATE_SHARE * phases.plan(spec)[-1].learning_rate  # a body that brings weights is tuned at less
    schedule = keras.optimizers.schedules.CosineDecay(rate, len(passes) * epochs)
    settings = {"optimizer": make_optimizer(schedule), **prepared.judged}
    continued = EpochLog(len(passes), len(log.rows) + epochs, log.rows, prepared.monitor)
    tuned = fine_tune(model, material, epochs, settings, BestEpoch(0, prepared.monitor), continued)
    log.rows = continued.rows
    return tuned


def default_epochs(epochs: int) -> int:
    """Epochs of fine-tuning after so many of training: a fifth, two at least."""
    return max(_LEAST_EPOCHS, round(epochs * _SHARE_OF_EPOCHS))


def input_range(spec: InputSpec) -> tuple[float, float] | None:
    """Least and greatest value of a scaled picture, whose mean and std are the same for all channels.

    None for features: their range is what is seen.
    """
    if isinstance(spec, FeaturesInput):
        return None
    least, greatest = ((pixel - spec.mean[0]) / spec.std[0] for pixel in (0, 255))
    return least, greatest
