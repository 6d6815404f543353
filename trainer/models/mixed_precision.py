"""Mixed precision: computing in float16, with float32 weights, where a GPU is quick at it.

Source: P. Micikevicius et al., Mixed Precision Training, arXiv:1710.03740.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

MIXED, PLAIN = "mixed_float16", "float32"
#: From here on GPUs have units for it.
_CAPABILITY = (7, 0)


def is_mixed(wanted: str) -> bool:
    """Whether to compute in float16; `"auto"`: where there are GPUs, and each of them has units for it."""
    if wanted != "auto":
        return wanted == "on"
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return bool(gpus) and all(found.get("compute_capability", (0, 0)) >= _CAPABILITY for found in details)


def with_policy(model: Any, policy: str) -> Any:
    """The same model with the same weights, its layers computing as a policy says.

    The last layer stays in float32: its scores become logarithms in the loss.

    Args:
        policy: `"mixed_float16"` or `"float32"`.
    """
    last = model.layers[-1].name

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        config["dtype"] = PLAIN if layer.name == last else policy
        return type(layer).from_config(config)

    other = keras.models.clone_model(model, clone_function=clone, recursive=True)
    other.set_weights(model.get_weights())
    return other


def scaled(optimizer: Any) -> Any:
    """An optimizer that keeps small gradients from vanishing in float16."""
    return keras.optimizers.LossScaleOptimizer(optimizer)
