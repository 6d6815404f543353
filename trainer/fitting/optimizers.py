"""The optimizer of a training and its learning rate: warm-up, then a cosine down to 0."""

from __future__ import annotations

from typing import Any

import keras

from ..config import TrainingConfig
from ..models import mixed_precision

_WARM_UP_SHARE = 0.05
#: Weights that AdamW does not decay: biases and normalization parameters gain nothing from being drawn to zero.
_NOT_DECAYED = ("bias", "gamma", "beta", "gain")


def scheduled_optimizer(config: TrainingConfig, steps: int) -> Any:
    """The optimizer of a training of `steps` steps.

    The rate rises to `config.learning_rate` over the first 5 % of the steps and falls to 0 along a cosine.
    """
    warm_up = max(1, round(_WARM_UP_SHARE * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=config.learning_rate, warmup_steps=warm_up
    )
    return make_optimizer(config, schedule)


def make_optimizer(config: TrainingConfig, learning_rate: Any) -> Any:
    """The configured optimizer with a constant learning rate or a schedule of Keras."""
    settings: dict[str, Any] = {"learning_rate": learning_rate}
    if config.optimizer == "adamw":
        settings["weight_decay"] = config.weight_decay
    optimizer = keras.optimizers.get({"class_name": config.optimizer, "config": settings})
    if config.optimizer == "adamw":
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if mixed_precision.is_mixed(config.mixed_precision):
        return mixed_precision.with_loss_scaling(optimizer)
    return optimizer
