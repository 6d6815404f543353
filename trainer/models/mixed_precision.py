"""Mixed precision: computing in float16 with float32 weights, on GPUs that have fast units for it.

Source: P. Micikevicius et al., Mixed Precision Training, arXiv:1710.03740.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

MIXED_FLOAT16, FLOAT32 = "mixed_float16", "float32"
#: The first compute capability with such units.
_CAPABILITY = (7, 0)


def is_mixed(setting: str) -> bool:
    """Whether to compute in float16.

    Args:
        setting: `"on"`, `"off"`, or `"auto"`: on if there are GPUs and each of them has units for float16.
    """
    if setting != "auto":
        return setting == "on"
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return bool(gpus) and all(found.get("compute_capability", (0, 0)) >= _CAPABILITY for found in details)


def with_policy(model: Any, policy: str) -> Any:
    """A copy of a model, with the same weights, whose layers compute with a dtype policy of Keras.

    The last layer stays in float32, because the loss takes the logarithm of its scores.

    Args:
        policy: `"mixed_float16"` or `"float32"`.
    """
    last = model.layers[-1].name

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        config["dtype"] = FLOAT32 if layer.name == last else policy
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def with_loss_scaling(optimizer: Any) -> Any:
    """The optimizer, with a scaled loss that keeps small gradients from vanishing in float16."""
    return keras.optimizers.LossScaleOptimizer(optimizer)
