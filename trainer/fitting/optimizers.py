"""The optimizer of a training and its learning rate: warm-up, then a cosine down to 0."""

from __future__ import annotations

from typing import Any

import keras

from ..config import TrainingConfig
from ..models import mixed_precision as precision

_WARM_UP_SHARE = 0.05
#: AdamW decays the others; these would be drawn to zero for no good: biases, and what normalizes.
_NOT_DECAYED = ("bias", "gamma", "beta", "gain")


def scheduled_optimizer(spec: TrainingConfig, steps: int) -> Any:
    """The spec's optimizer whose rate rises over the first 5 % of the steps and falls to 0 along a cosine."""
    warm_up = max(1, round(_WARM_UP_SHARE * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=spec.learning_rate, warmup_steps=warm_up
    )
    return make_optimizer(spec, schedule)


def make_optimizer(spec: TrainingConfig, learning_rate: Any) -> Any:
    """The spec's optimizer at a rate or a schedule."""
    config: dict[str, Any] = {"learning_rate": learning_rate}
    if spec.optimizer == "adamw":
        config["weight_decay"] = spec.weight_decay
    optimizer = keras.optimizers.get({"class_name": spec.optimizer, "config": config})
    if spec.optimizer == "adamw":
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if precision.is_mixed(spec.mixed_precision):
        return precision.scaled(optimizer)
    return optimizer
