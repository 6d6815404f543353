"""What the curves of a training say, in one sentence: overfitting, still improving, or neither."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .metrics import readable

#: With fewer epochs the curves say nothing yet.
_FEWEST_EPOCHS = 3
#: A gap between training and validation counts from this many standard errors on.
_STANDARD_ERRORS = 2.0
#: The share of the validation loss by which it must have risen, or fallen, to count.
_CLEAR_CHANGE = 0.02


def describe_learning_curves(history: Sequence[Mapping[str, float]], best_epoch: int, validation: int) -> str:
    """One sentence about the curves of a training.

    A training overfits from the first epoch after the lowest validation loss, if the validation loss has risen since,
    the training loss has fallen, and the training metric is ahead of the validation metric by more than chance gives.

    Args:
        history: a row for each epoch, as in `history.csv`.
        best_epoch: the epoch that was kept.
        validation: the number of validation samples.
    """
    if len(history) < _FEWEST_EPOCHS:
        return f"too few epochs ({len(history)}) to say whether the network overfits"
    metric = "mean_average_precision" if "mean_average_precision" in history[0] else "accuracy"
    first, last = history[0], history[-1]
    losses = [row["val_loss"] for row in history]
    lowest = int(np.argmin(losses))
    training, validated = last[metric], last[f"val_{metric}"]
    chance = _STANDARD_ERRORS * math.sqrt(validated * (1 - validated) / max(1, validation)) + 0.5 / max(1, validation)
    figures = f"training {readable(metric)} {training:.3f}, validation {validated:.3f}"
    end = f"epoch {int(last['epoch'])}"
    if (
        lowest < len(history) - 1
        and losses[-1] > (1 + _CLEAR_CHANGE) * losses[lowest]
        and last["loss"] < history[lowest]["loss"]
        and training - validated > chance
    ):
        begin = int(history[lowest + 1]["epoch"])
        return (
            f"overfitting from epoch {begin} on: {figures} in {end}; the validation loss rose from "
            f"{losses[lowest]:.3f} to {losses[-1]:.3f}, and epoch {best_epoch} was kept"
        )
    if training - validated > chance:
        return f"the training is ahead of the validation by more than chance: {figures} in {end}, the last"
    before = losses[-max(_FEWEST_EPOCHS, len(losses) // 4)]
    if lowest == len(history) - 1 and losses[-1] < (1 - _CLEAR_CHANGE) * before and last["loss"] < first["loss"]:
        return f"still improving at the end, so that more epochs may help: {figures} in {end}, the last"
    return f"no overfitting: {figures} in {end}, the last"
