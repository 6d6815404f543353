"""Rounding as an integer file rounds, in float32, with a gradient that passes straight through.

Source: B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
CVPR 2018 (arXiv:1712.05877). The gradient is of our own writing: TensorFlow's has no deterministic kernel on GPUs.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

#: A kernel's channel of zeros alone still needs a scale.
_LEAST_RANGE = 1e-8
#: So much below a half is one that float32 has missed.
_HALF = 1e-4


def quantized_values(values: Any, least: Any, greatest: Any) -> Any:
    """An activation rounded to 256 values from `least` to `greatest`, scalars on either side of 0.

    Beyond them the gradient is 0.
    """
    within = tf.clip_by_value(values, least, greatest)
    rounded = tf.quantization.fake_quant_with_min_max_vars(values, least, greatest)
    return within + tf.stop_gradient(rounded - within)


def quantized_means(means: Any, read: tuple[Any, Any], written: tuple[Any, Any]) -> Any:
    """Averages over pixels rounded as the integer kernels of pooling do it.

    They round halves away from zero, in steps counted from the middle of the 256; and where the answer's steps are of
    another size than what is read, the zero point is scaled and rounded by itself.

    Args:
        read, written: least and greatest value of what is averaged and of the answer; the same for local pooling.
    """
    scale, zero = _grid(read[0], read[1])
    written_scale, written_zero = _grid(written[0], written[1])
    ratio = scale / written_scale
    steps = _halves_away((means / scale + zero) * ratio) - _halves_away(zero * ratio)
    steps = tf.clip_by_value(steps, -128 - written_zero, 127 - written_zero)
    within = tf.clip_by_value(means, written[0], written[1])
    return within + tf.stop_gradient(steps * written_scale - within)


def _grid(least: Any, greatest: Any) -> tuple[Any, Any]:
    """Scale and zero point of int8."""
    scale = (greatest - least) / 255
    return scale, tf.round(-128 - least / scale)


def _halves_away(values: Any) -> Any:
    return tf.sign(values) * tf.floor(tf.abs(values) + 0.5 + _HALF)


def quantized_weights(kernel: Any, depthwise: bool = False) -> Any:
    """A kernel rounded to 255 values symmetric about 0, each output channel by its own greatest.

    Args:
        kernel: float32; its last axis, or its last two where `depthwise`, are the output's channels.
    """
    shape = tf.shape(kernel)
    flat = tf.reshape(kernel, (-1, shape[-2] * shape[-1] if depthwise else shape[-1]))
    greatest = tf.maximum(tf.reduce_max(tf.abs(flat), axis=0), _LEAST_RANGE)
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(flat, -greatest, greatest, narrow_range=True)
    return kernel + tf.stop_gradient(tf.reshape(rounded, shape) - kernel)
