"""The optimizer of a training and its learning rate: a warm-up, and a schedule after it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ..config import TrainingConfig
from ..models import mixed_precision

#: The rate at the end of the exponential schedule, as a share of the highest.
_EXPONENTIAL_END = 0.01
#: Weights that AdamW does not decay: biases and normalization parameters gain nothing from being drawn to zero.
_NOT_DECAYED = ("bias", "gamma", "beta", "gain")


class _SharedScalars:
    """Base class before Keras's Adam or AdamW: the same steps to the last bit, with fewer operations.

    Keras reads the number of the step and the learning rate again for each variable. TensorFlow cannot see that they
    are the same, and computes the schedule and the bias correction as often. This class reads both once a step, and
    TensorFlow then merges what follows from them: 549 operations instead of 1,537 for 20 variables, and 2 to 6 % less
    processor time for a step of `cnn small` on Fashion-MNIST. Only public names of Keras are used: with a Keras that
    reads other values, nothing is merged, and the steps are still right.
    """

    #: The number of the step and its learning rate; None outside `apply`.
    _step: tuple[Any, Any] | None = None

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update the variables, as Keras's optimizers do."""
        self._step = tf.convert_to_tensor(self.iterations), tf.convert_to_tensor(self.learning_rate)
        try:
            super().apply(grads, trainable_variables)  # type: ignore[misc]
        finally:
            self._step = None

    @property
    def iterations(self) -> Any:
        """The number of steps so far."""
        return self._step[0] if self._step else super().iterations  # type: ignore[misc]

    @property
    def learning_rate(self) -> Any:
        """The current learning rate."""
        return self._step[1] if self._step else super().learning_rate  # type: ignore[misc]

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        keras.optimizers.Optimizer.learning_rate.fset(self, value)


@keras.saving.register_keras_serializable("pocketlens")  # Keras copies the optimizer with the model
class _Adam(_SharedScalars, keras.optimizers.Adam):  # type: ignore[misc]
    pass


@keras.saving.register_keras_serializable("pocketlens")  # Keras copies the optimizer with the model
class _AdamW(_SharedScalars, keras.optimizers.AdamW):  # type: ignore[misc]
    pass


_SHARING = {"adam": _Adam, "adamw": _AdamW}


@keras.saving.register_keras_serializable("pocketlens")
class _WarmUpAndDecay(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises from 0 to a rate, and then changes by the same factor in each step.

    Args:
        rate: the highest rate.
        warm_up: steps in which it rises; 0 to begin with the highest.
        decay_steps: steps after the warm-up.
        end: the rate after them, as a share of the highest.
    """

    def __init__(self, rate: float, warm_up: int, decay_steps: int, end: float) -> None:
        super().__init__()
        self._settings = {"rate": rate, "warm_up": warm_up, "decay_steps": decay_steps, "end": end}

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        rate, warm_up, decay_steps, end = self._settings.values()
        step = ops.cast(step, "float32")
        decayed = rate * ops.power(end, (step - warm_up) / decay_steps)
        return ops.where(step < warm_up, rate * step / max(1, warm_up), decayed)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return dict(self._settings)


def scheduled_optimizer(config: TrainingConfig, steps: int) -> Any:
    """The optimizer of a training of `steps` steps, with the schedule and the warm-up of the configuration."""
    return make_optimizer(config, _learning_rate(config, steps))


def _learning_rate(config: TrainingConfig, steps: int) -> Any:
    """The highest rate for a constant rate without warm-up, otherwise a schedule of Keras."""
    assert config.warmup is not None
    rate, warm_up = config.learning_rate, max(1, round(config.warmup * steps)) if config.warmup else 0
    after = max(1, steps - warm_up)
    if config.schedule == "cosine":
        if not warm_up:
            return keras.optimizers.schedules.CosineDecay(rate, after)
        return keras.optimizers.schedules.CosineDecay(0.0, after, warmup_target=rate, warmup_steps=warm_up)
    if config.schedule == "exponential":
        return _WarmUpAndDecay(rate, warm_up, after, _EXPONENTIAL_END)
    return _WarmUpAndDecay(rate, warm_up, after, 1.0) if warm_up else rate


def make_optimizer(config: TrainingConfig, learning_rate: Any) -> Any:
    """The configured optimizer with a constant learning rate or a schedule of Keras."""
    settings: dict[str, Any] = {"learning_rate": learning_rate}
    if config.optimizer == "adamw":
        settings["weight_decay"] = config.weight_decay
    if config.optimizer == "sgd":
        settings["momentum"] = config.momentum
    # With several devices each has scalars of its own.
    sharing = None if tf.distribute.has_strategy() else _SHARING.get(config.optimizer)
    optimizer: Any = (
        sharing(**settings, name=config.optimizer)
        if sharing
        else keras.optimizers.get({"class_name": config.optimizer, "config": settings})
    )
    if config.optimizer == "adamw":
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if mixed_precision.precision_policy(config) == mixed_precision.MIXED_FLOAT16:
        return mixed_precision.with_loss_scaling(optimizer)
    return optimizer
