"""A convolution that needs no batch normalization: its kernels are brought to one scale instead of its outputs.

Source: S. Qiao et al., Micro-Batch Training with Batch-Channel Normalization and Weight Standardization,
arXiv:1903.10520; with the gain for ReLU of A. Brock et al., arXiv:2101.08692.

Normalizing kernels costs next to nothing, while batch normalization takes half of a training step on a CPU. A device
never meets this layer: `to_plain_convolutions` replaces it by plain convolutions with the same outputs.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

#: Prevents a division by zero for a kernel of equal weights.
_EPSILON = 1e-4
#: ReLU halves the power of an input of unit variance.
_RELU_GAIN = math.sqrt(2.0)


@keras.saving.register_keras_serializable("pocketlens")
class StandardizedConv2D(layers.Conv2D):  # type: ignore[misc]
    """`Conv2D` with filters of mean 0 and of norm sqrt(2) times a learned gain."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.gain = self.add_weight(shape=(self.filters,), initializer="ones", name="gain")

    def standardized_kernel(self) -> Any:
        """The effective kernel: float32, shape (rows, columns, channels, filters)."""
        kernel = ops.cast(self.kernel, "float32")
        mean = ops.mean(kernel, axis=(0, 1, 2), keepdims=True)
        variance = ops.var(kernel, axis=(0, 1, 2), keepdims=True)
        inputs = math.prod(self.kernel.shape[:3])
        return (kernel - mean) * ops.rsqrt(variance * inputs + _EPSILON) * (ops.cast(self.gain, "float32") * _RELU_GAIN)

    def call(self, inputs: Any) -> Any:
        kernel = ops.cast(self.standardized_kernel(), self.compute_dtype)
        result = ops.conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return result + ops.cast(self.bias, self.compute_dtype) if self.use_bias else result


def to_plain_convolutions(model: Any) -> Any:
    """The same function with plain float32 `Conv2D` layers; a model without standardized ones is returned as it is.

    Raises:
        ValueError: the model is not functional.
    """
    if not any(isinstance(layer, StandardizedConv2D) for layer in model.layers):
        return model
    plain = keras.models.clone_model(model, clone_function=_plain_layer)
    for source, target in zip(model.layers, plain.layers, strict=True):
        weights = source.get_weights()
        if isinstance(source, StandardizedConv2D):
            weights = [np.asarray(source.standardized_kernel()), *weights[1:-1]]
        target.set_weights(weights)
    return plain


def _plain_layer(layer: Any) -> Any:
    config = layer.get_config()
    if isinstance(layer, StandardizedConv2D):
        # The name of a plain layer: a name is repeated many times in an exported file.
        config["name"] = config["name"].replace("standardized_", "")
        return layers.Conv2D.from_config(config)
    return type(layer).from_config(config)
