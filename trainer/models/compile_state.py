"""A trained network by itself."""

from __future__ import annotations

from typing import Any


def strip_compile_state(model: Any) -> Any:
    """The same network, of its own class and with the same weights, without optimizer, loss and metrics.

    A file of it is a third as large, since AdamW keeps two numbers for each weight, and names nothing but layers.
    """
    other = type(model).from_config(model.get_config())
    for layer in model.layers:
        other.get_layer(layer.name).set_weights(layer.get_weights())
    return other
