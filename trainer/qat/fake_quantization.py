"""The rounding of an int8 file, in float32, with a gradient that passes straight through.

Source: B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
CVPR 2018 (arXiv:1712.05877). The gradient is written here: TensorFlow's has no deterministic kernel on GPUs.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

#: A channel of zeros needs a scale too.
_LEAST_RANGE = 1e-8
#: A fraction this little below a half is a half with a float32 rounding error.
_HALF = 1e-4


def quantized_values(values: Any, least: Any, greatest: Any) -> Any:
    """An activation rounded to 256 values from `least` to `greatest`, scalars with 0 between them.

    Outside this range the gradient is 0.
    """
    within = tf.clip_by_value(values, least, greatest)
    rounded = tf.quantization.fake_quant_with_min_max_vars(values, least, greatest)
    return within + tf.stop_gradient(rounded - within)


def quantized_averages(means: Any, least: Any, greatest: Any) -> Any:
    """Averages of values that have 256 levels from `least` to `greatest`, rounded as AVERAGE_POOL_2D rounds them.

    It rounds halves away from the int8 value zero; a quarter of all averages of four values are halves. (MEAN is
    another kernel, whose errors of up to one level are not simulated.)
    """
    scale = (greatest - least) / 255
    zero = tf.round(-128 - least / scale)
    steps = means / scale + zero
    rounded = (tf.sign(steps) * tf.floor(tf.abs(steps) + 0.5 + _HALF) - zero) * scale
    return means + tf.stop_gradient(rounded - means)


def quantized_weights(kernel: Any, depthwise: bool = False) -> Any:
    """A kernel rounded to 255 values symmetric about 0, with the range of each output channel.

    Args:
        kernel: float32; its last axis, or its last two if `depthwise`, are the output's channels.
    """
    shape = tf.shape(kernel)
    flat = tf.reshape(kernel, (-1, shape[-2] * shape[-1] if depthwise else shape[-1]))
    greatest = tf.maximum(tf.reduce_max(tf.abs(flat), axis=0), _LEAST_RANGE)
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(flat, -greatest, greatest, narrow_range=True)
    return kernel + tf.stop_gradient(tf.reshape(rounded, shape) - kernel)
