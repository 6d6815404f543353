"""An int8 file's answers, computed in float32 and with gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .fake_quantization import quantized_averages, quantized_values
from .steps import Grid, Step, steps

#: Of a range where an activation is 0 for all pictures.
_LEAST_WIDTH = 1e-6


class Simulation(keras.Model):  # type: ignore[misc]
    """A network as its int8 file computes it: weights and activations rounded, the ranges taken from pictures.

    Its trainable variables are those of the network, which is trained with it and stays a plain model.

    Args:
        network: from `folding.fold`.
        input_range: least and greatest value of the input, where pixels decide them; None to take those seen.
    """

    def __init__(self, network: Any, input_range: tuple[float, float] | None = None) -> None:
        super().__init__(name="simulation")
        self.network = network
        self._steps: list[Step] = steps(network)
        self._input_range = input_range
        self.ranges = self.add_weight(
            name="ranges", shape=(len(self._steps), 2), initializer="zeros", trainable=False, dtype="float32"
        )
        self._observed = tf.function(self._observe, reduce_retracing=True)
        self.built = True

    def call(self, pictures: Any, training: bool = False) -> Any:
        """Answers to float32 pictures of shape (n, height, width, channels); `calibrate` comes first."""
        values: list[Any] = []
        grids: list[Any] = []
        ranges = tf.convert_to_tensor(self.ranges)
        for place, step in enumerate(self._steps):
            given = [values[i] for i in step.inputs]
            answer = step.compute(given, quantized=True, training=training) if step.inputs else pictures
            grid = grids[step.inputs[0]] if step.grid is Grid.KEPT else step.fixed_range or ranges[place]
            grids.append(grid)
            rounding = quantized_averages if step.averages else quantized_values
            values.append(answer if step.grid is Grid.NONE else rounding(answer, grid[0], grid[1]))
        return values[-1]

    def calibrate(self, batches: Iterable[Any]) -> None:
        """Set the ranges to the least and greatest values that the network without rounding has for the pictures.

        So does the converter with its representative dataset, and a range holds 0 as it has it there.

        Args:
            batches: float32 pictures of shape (n, height, width, channels) each; at least one.
        """
        found = [np.asarray(self._observed(batch)) for batch in batches]
        seen = np.stack([np.min(found, axis=0)[:, 0], np.max(found, axis=0)[:, 1]], axis=1)
        ranges = np.stack([np.minimum(seen[:, 0], 0), np.maximum(seen[:, 1], 0)], axis=1)
        for place, step in enumerate(self._steps):
            if step.overwritten_by >= 0:
                over = seen[step.overwritten_by]
                ranges[place] = min(ranges[place, 0], over[0]), max(ranges[place, 1], over[1])
        ranges[:, 1] = np.maximum(ranges[:, 1], ranges[:, 0] + _LEAST_WIDTH)
        if self._input_range:
            ranges[0] = self._input_range
        self.ranges.assign(ranges)

    def _observe(self, pictures: Any) -> Any:
        """Least and greatest of each step's answers, float32 of shape (steps, 2)."""
        values: list[Any] = []
        for step in self._steps:
            given = [values[i] for i in step.inputs]
            values.append(step.compute(given, quantized=False, training=False) if step.inputs else pictures)
        return tf.stack([tf.stack([tf.reduce_min(v), tf.reduce_max(v)]) for v in values])
