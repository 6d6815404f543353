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

from .augmentation import augment
from .datasets.dataset import Indices
from .datasets.pixels import Pixels


@dataclass(frozen=True)
class Pipeline:
    """Batches of a data set, scaled by the same code as on the device.

    Attributes:
        pixels: uint8, shape (n, height, width, channels), by index.
        targets: what the loss takes of each picture: int32 of shape (n,), or float32 of shape (n, classes).
        preprocessor: scales pixels to float32.
        batch_size: pictures a batch; the last one of a split may be smaller.
    """

    pixels: Pixels
    targets: npt.NDArray[Any]
    preprocessor: Preprocessor
    batch_size: int

    def batches(self, indices: Indices) -> Any:
        """A `tf.data.Dataset` of (float32 pictures, targets), in the order of the indices."""

        def generate() -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[Any]]]:
            for chosen in self._parts(indices):
                yield self.preprocessor.scale(self.pixels[chosen]), self.targets[chosen]

        return self._dataset(generate, len(indices), weighted=False)

    def passes(
        self, indices: Indices, seed: int, augmentation: tuple[str, ...], weights: npt.NDArray[np.float32]
    ) -> Passes:
        """Passes over a split for training: shuffled, augmented, weighted.

        Args:
            weights: float32, shape (n,): what each picture of the data set counts in the loss.
        """
        return Passes(self, indices, seed, augmentation, weights)

    def _parts(self, order: Indices) -> Iterator[Indices]:
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def _dataset(self, generate: Any, count: int, *, weighted: bool) -> Any:
        signature: tuple[Any, ...] = (
            tf.TensorSpec((None, *self.pixels.shape[1:]), tf.float32),
            tf.TensorSpec((None, *self.targets.shape[1:]), tf.as_dtype(self.targets.dtype)),
        )
        if weighted:
            signature += (tf.TensorSpec((None,), tf.float32),)
        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        steps = math.ceil(count / self.batch_size)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)
        options = tf.data.Options()
        # There is nothing to tune, and TensorFlow 2.21 waits for its tuner at the end of each pass: up to as long
        # as the pass took.
        options.autotune.enabled = False
        return dataset.with_options(options)


class Passes:
    """The training split, in another order and with other augmentation in each epoch.

    Both follow from the seed and `epoch` alone, so that a training that goes on after a kill sees what it would have
    seen.

    Attributes:
        epoch: which pass the next iteration is, from 0; the training sets it.
        batches: a `tf.data.Dataset` of (float32 pictures, targets, float32 weights).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        indices: Indices,
        seed: int,
        augmentation: tuple[str, ...],
        weights: npt.NDArray[np.float32],
    ) -> None:
        self.epoch = 0
        self._pipeline, self._indices, self._seed = pipeline, indices, seed
        self._augmentation, self._weights = augmentation, weights
        self.batches = pipeline._dataset(self._generate, len(indices), weighted=True)

    def __len__(self) -> int:
        return len(self.batches)

    def _generate(self) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[np.float32]]]:
        pipeline = self._pipeline
        rng = np.random.default_rng((self._seed, self.epoch))
        for chosen in pipeline._parts(rng.permutation(self._indices)):
            pixels = augment(pipeline.pixels[chosen], self._augmentation, rng)
            yield pipeline.preprocessor.scale(pixels), pipeline.targets[chosen], self._weights[chosen]
