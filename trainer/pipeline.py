"""The input pipeline: batches of scaled pictures for Keras, prepared while the previous step runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from runtime import Preprocessor

from .datasets.dataset import Indices


@dataclass(frozen=True)
class Pipeline:
    """Batches of a data set, scaled by the same code as on the device.

    Attributes:
        pixels: uint8, shape (n, height, width, channels).
        targets: int32, shape (n,).
        preprocessor: scales pixels to float32.
        batch_size: pictures a batch; the last one of a split may be smaller.
    """

    pixels: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int32]
    preprocessor: Preprocessor
    batch_size: int

    def batches(self, indices: Indices, shuffle_seed: int | None = None) -> Any:
        """A `tf.data.Dataset` of (float32 pictures, int32 targets); with a seed, in a new order at each pass."""
        rng = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)

        def generate() -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
            order = indices if rng is None else rng.permutation(indices)
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                yield self.preprocessor.scale(self.pixels[chosen]), self.targets[chosen]

        signature = (
            tf.TensorSpec((None, *self.pixels.shape[1:]), tf.float32),
            tf.TensorSpec((None,), tf.int32),
        )
        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        steps = math.ceil(len(indices) / self.batch_size)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)
        options = tf.data.Options()
        # There is nothing to tune, and TensorFlow 2.21 waits for its tuner at the end of each pass: up to as long
        # as the pass took.
        options.autotune.enabled = False
        return dataset.with_options(options)
