"""The phases of a training: which layers learn, for how long, and at which rate.

A body that brings weights is trained in two: its new head alone first, whose random gradients would spoil what the
body knows, and then the topmost layers too, at a low rate. Its batch normalizations stay as they are throughout,
moving averages and mode: a small data set's own statistics are worse than those that came with the weights.
Everything else is trained whole, in one phase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import TrainingConfig
from ..models.backbones import BACKBONES, NO_WEIGHTS
from ..models.pretrained import backbone_layers

WHOLE, HEAD, FINE_TUNE = "whole", "head", "fine-tune"
#: Of all epochs, where nothing else is said.
_HEAD_SHARE = 0.25
#: The rate at which a body's layers are tuned, as a share of the head's.
_FINE_TUNE_RATE = 0.1


@dataclass(frozen=True)
class Phase:
    """A part of a training, with its own optimizer, warm-up and cosine.

    Attributes:
        name: `"whole"`, `"head"` or `"fine-tune"`.
        epochs: passes over the training split.
        learning_rate: at its highest.
        tuned: how many of the body's topmost convolutions learn, as in `TrainingConfig.fine_tune_layers`; None for all
            layers of the model, batch normalizations too.
    """

    name: str
    epochs: int
    learning_rate: float
    tuned: int | float | None = None


def plan(spec: TrainingConfig) -> tuple[Phase, ...]:
    """The phases of a training, in order; each of them has an epoch or more."""
    if spec.architecture not in BACKBONES or spec.weights == NO_WEIGHTS:
        return (Phase(WHOLE, spec.epochs, spec.learning_rate),)
    head = max(1, round(_HEAD_SHARE * spec.epochs)) if spec.head_epochs is None else min(spec.head_epochs, spec.epochs)
    if not spec.fine_tune_layers:
        head = spec.epochs
    phases = (
        Phase(HEAD, head, spec.learning_rate, 0),
        Phase(FINE_TUNE, spec.epochs - head, _FINE_TUNE_RATE * spec.learning_rate, spec.fine_tune_layers),
    )
    return tuple(phase for phase in phases if phase.epochs)


def left(phases: Sequence[Phase], rows: Sequence[Mapping[str, Any]]) -> tuple[Phase, ...]:
    """The phases from the one of the history's last row on: it may have ended, or be half done."""
    if not rows:
        return tuple(phases)
    names = [phase.name for phase in phases]
    return tuple(phases[names.index(rows[-1]["phase"]) :])


def set_trainable(model: Any, phase: Phase) -> None:
    """Say of each layer of a model whether it learns in a phase; the model is to be compiled after it."""
    if phase.tuned is None:
        return
    body = backbone_layers(model)
    # Batch normalization that is not trainable takes its moving averages, and does not move them.
    convolutions = [layer for layer in body if "Conv" in type(layer).__name__]
    count = phase.tuned if isinstance(phase.tuned, int) else round(phase.tuned * len(convolutions))
    learning = {layer.name for layer in convolutions[max(0, len(convolutions) - count) :]}
    for layer in body:
        layer.trainable = layer.name in learning
