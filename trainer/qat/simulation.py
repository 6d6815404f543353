"""The simulation of an int8 file: its scores, computed in float32 with gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .fake_quantization import quantized_averages, quantized_values
from .steps import Rounding, Step, simulation_steps

#: Width of the range of an activation that is 0 for all images.
_LEAST_WIDTH = 1e-6


class Simulation(keras.Model):  # type: ignore[misc]
    """A network computed as its int8 file computes it, with rounded weights and activations.

    Its trainable variables are those of the network, which is trained with it and stays a plain model.

    Args:
        network: from `folding.fold_batch_norm`.
        input_range: least and greatest value of the input, for pixels; None to take those of the data.
    """

    def __init__(self, network: Any, input_range: tuple[float, float] | None = None) -> None:
        super().__init__(name="simulation")
        self.network = network
        self._steps: list[Step] = simulation_steps(network)
        self._input_range = input_range
        self.ranges = self.add_weight(
            name="ranges", shape=(len(self._steps), 2), initializer="zeros", trainable=False, dtype="float32"
        )
        self._traced_extremes = tf.function(self._extremes, reduce_retracing=True)
        self.built = True

    def call(self, images: Any, training: bool = False) -> Any:
        """Scores for float32 images of shape (n, height, width, channels); `calibrate` must come first."""
        outputs: list[Any] = []
        used_ranges: list[Any] = []
        ranges = tf.convert_to_tensor(self.ranges)
        for index, step in enumerate(self._steps):
            inputs = [outputs[i] for i in step.inputs]
            output = step.compute(inputs, quantized=True, training=training) if step.inputs else images
            from_input = step.rounding is Rounding.AS_INPUT
            used = used_ranges[step.inputs[0]] if from_input else step.fixed_range or ranges[index]
            used_ranges.append(used)
            rounded = quantized_averages if step.averages else quantized_values
            outputs.append(output if step.rounding is Rounding.NONE else rounded(output, used[0], used[1]))
        return outputs[-1]

    def calibrate(self, batches: Iterable[Any]) -> None:
        """Set the ranges to the least and greatest values that the network without rounding has for these images.

        The converter does the same with its representative dataset; as there, each range includes 0.

        Args:
            batches: float32 images, each batch of shape (n, height, width, channels); at least one batch.
        """
        found = [np.asarray(self._traced_extremes(batch)) for batch in batches]
        extremes = np.stack([np.min(found, axis=0)[:, 0], np.max(found, axis=0)[:, 1]], axis=1)
        ranges = np.stack([np.minimum(extremes[:, 0], 0), np.maximum(extremes[:, 1], 0)], axis=1)
        for index, step in enumerate(self._steps):
            if step.overwritten_by >= 0:
                other = extremes[step.overwritten_by]
                ranges[index] = min(ranges[index, 0], other[0]), max(ranges[index, 1], other[1])
        ranges[:, 1] = np.maximum(ranges[:, 1], ranges[:, 0] + _LEAST_WIDTH)
        if self._input_range:
            ranges[0] = self._input_range
        self.ranges.assign(ranges)

    def _extremes(self, images: Any) -> Any:
        """The least and the greatest output of each step, float32 of shape (steps, 2)."""
        outputs: list[Any] = []
        for step in self._steps:
            inputs = [outputs[i] for i in step.inputs]
            outputs.append(step.compute(inputs, quantized=False, training=False) if step.inputs else images)
        return tf.stack([tf.stack([tf.reduce_min(v), tf.reduce_max(v)]) for v in outputs])
