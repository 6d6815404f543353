"""The phases of a training: which layers learn, for how long, and at which rate.

A network on a pretrained backbone is trained in two phases: first its new head alone, whose random gradients would
spoil the backbone's weights, and then the topmost layers of the backbone too, at a low rate. The backbone's batch
normalizations are frozen throughout, moving averages and mode: the statistics of a small data set are worse than those
that came with the weights. Every other network is trained whole, in one phase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..backbones import BACKBONES, NO_WEIGHTS
from ..config import TrainingConfig
from ..models.pretrained import backbone_layers

WHOLE, HEAD, FINE_TUNE = "whole", "head", "fine-tune"
#: Default share of the epochs for the head's phase.
_HEAD_SHARE = 0.25
#: Learning rate of the fine-tuning phase, as a share of the head's.
_FINE_TUNE_RATE = 0.1


@dataclass(frozen=True)
class Phase:
    """A part of a training, with its own optimizer, warm-up and cosine.

    Attributes:
        name: `"whole"`, `"head"` or `"fine-tune"`.
        epochs: passes over the training split.
        learning_rate: the highest rate of the schedule.
        fine_tune_layers: the backbone's topmost convolutions that learn, as in `TrainingConfig.fine_tune_layers`; None
            for all layers of the model, batch normalizations too.
    """

    name: str
    epochs: int
    learning_rate: float
    fine_tune_layers: int | float | None = None


def plan_phases(config: TrainingConfig) -> tuple[Phase, ...]:
    """The phases of a training, in order; each has at least one epoch."""
    if config.architecture not in BACKBONES or config.weights == NO_WEIGHTS:
        return (Phase(WHOLE, config.epochs, config.learning_rate),)
    default = max(1, round(_HEAD_SHARE * config.epochs))
    head = default if config.head_epochs is None else min(config.head_epochs, config.epochs)
    if not config.fine_tune_layers:
        head = config.epochs
    phases = (
        Phase(HEAD, head, config.learning_rate, 0),
        Phase(FINE_TUNE, config.epochs - head, _FINE_TUNE_RATE * config.learning_rate, config.fine_tune_layers),
    )
    return tuple(phase for phase in phases if phase.epochs)


def with_head_epochs(config: TrainingConfig, fine_tuning: int) -> int:
    """All epochs of a training that has so many epochs of fine-tuning."""
    return fine_tuning + (
        max(1, round(fine_tuning * _HEAD_SHARE / (1 - _HEAD_SHARE)))
        if config.head_epochs is None
        else config.head_epochs
    )


def remaining_phases(phases: Sequence[Phase], history: Sequence[Mapping[str, Any]]) -> tuple[Phase, ...]:
    """The phases from that of the history's last row on, which may be complete or half done."""
    if not history:
        return tuple(phases)
    names = [phase.name for phase in phases]
    return tuple(phases[names.index(history[-1]["phase"]) :])


def set_trainable(model: Any, phase: Phase) -> None:
    """Set which layers of a model learn in a phase; compile the model afterwards."""
    if phase.fine_tune_layers is None:
        return
    backbone = backbone_layers(model)
    # Batch normalization that is not trainable uses its moving averages and does not change them.
    convolutions = [layer for layer in backbone if "Conv" in type(layer).__name__]
    wanted = phase.fine_tune_layers
    count = wanted if isinstance(wanted, int) else round(wanted * len(convolutions))
    learning = {layer.name for layer in convolutions[max(0, len(convolutions) - count) :]}
    for layer in backbone:
        layer.trainable = layer.name in learning
