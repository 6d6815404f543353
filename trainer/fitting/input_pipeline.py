"""The input pipeline: batches of scaled pictures for Keras, prepared by several threads while the model trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from runtime.preprocessing import InputPreprocessor

from ..data.dataset import PixelStore
from ..data.image_files import WORKERS
from ..data.sources import Indices
from ..errors import DatasetError
from .augmentation import augment

#: Bytes of batches that may be in the making at once, on a machine of many processors.
_MOST_AHEAD = 2**30
#: What a pass begins with: its number, and the indices in its order.
_Begin = Callable[[], tuple[Any, Indices]]
#: A batch from the number of its pass, its own, and the indices of its pictures.
_Make = Callable[[int, int, Indices], tuple[npt.NDArray[Any], ...]]


@dataclass(frozen=True)
class Pipeline:
    """Batches of a data set, scaled by the same code as on the device.

    Attributes:
        pixels: uint8, shape (n, height, width, channels), by index: they may lie on disk.
        targets: what the loss takes of each picture: int32 of shape (n,), or float32 of shape (n, classes).
        preprocessor: scales pixels to float32.
        batch_size: pictures a batch; the last one of a split may be smaller.
    """

    pixels: PixelStore
    targets: npt.NDArray[Any]
    preprocessor: InputPreprocessor
    batch_size: int
    _failures: list[DatasetError] = field(default_factory=list, init=False, repr=False)

    def batches(self, indices: Indices, weights: npt.NDArray[np.float32] | None = None) -> Any:
        """A `tf.data.Dataset` of (float32 pictures, targets), in the order of the indices.

        Args:
            weights: float32, shape (n,): what each picture of the data set counts; a third part of the batches.
        """

        def make(_epoch: int, _number: int, chosen: Indices) -> tuple[npt.NDArray[Any], ...]:
            parts = self.preprocessor.scale(self.pixels[chosen]), self.targets[chosen]
            return parts if weights is None else (*parts, weights[chosen])

        return self._dataset(lambda: (np.int64(0), indices), make, len(indices), weighted=weights is not None)

    def passes(
        self, indices: Indices, seed: int, augmentation: tuple[str, ...], weights: npt.NDArray[np.float32]
    ) -> Passes:
        """Passes over a split for training: shuffled, augmented, weighted.

        Args:
            weights: float32, shape (n,): what each picture of the data set counts in the loss.
        """
        return Passes(self, indices, seed, augmentation, weights)

    @contextmanager
    def told(self) -> Iterator[None]:
        """For whatever reads batches: a picture that could not be read is a DatasetError, not TensorFlow's own.

        Raises:
            DatasetError: it names the file.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self._failures:
                raise self._failures[0] from error
            raise
        finally:
            self._failures.clear()

    def _dataset(self, begin: _Begin, make: _Make, count: int, *, weighted: bool) -> Any:
        types = (tf.float32, tf.as_dtype(self.targets.dtype), tf.float32)[: 3 if weighted else 2]
        picture, target = self.pixels.shape[1:], self.targets.shape[1:]
        shapes = ((None, *picture), (None, *target), (None,))

        # Neither function is called stateful, though the first one asks which epoch it is: with operations made
        # deterministic, as training has them, one stateful function lets TensorFlow make all batches one by one.
        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def start(number: Any) -> Any:
            epoch, order = tf.numpy_function(lambda _: begin(), [number], (tf.int64, tf.int64), stateful=False)
            parts = tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, (None,))).batch(self.batch_size)
            return parts.enumerate().map(lambda number, chosen: (epoch, number, chosen))

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def finish(epoch: Any, number: Any, chosen: Any) -> Any:
            arrays = tf.numpy_function(self._told_later(make), [epoch, number, chosen], types, stateful=False)
            return tuple(tf.ensure_shape(array, shape) for array, shape in zip(arrays, shapes, strict=False))

        workers = max(1, min(WORKERS, _MOST_AHEAD // (4 * self.batch_size * math.prod(picture))))
        dataset = tf.data.Dataset.range(1).flat_map(start)
        dataset = dataset.map(finish, num_parallel_calls=workers, deterministic=True)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(math.ceil(count / self.batch_size)))
        options = tf.data.Options()
        # There is nothing to tune, and TensorFlow 2.21 waits for its tuner at the end of each pass: up to as long
        # as the pass took.
        options.autotune.enabled = False
        # In threads of their own: one that waits for the disk must not hold up the model.
        options.threading.private_threadpool_size = workers
        return dataset.prefetch(2).with_options(options)

    def _told_later(self, make: _Make) -> _Make:
        """The same function, whose errors `told` finds."""

        def make_or_note(epoch: int, number: int, chosen: Indices) -> tuple[npt.NDArray[Any], ...]:
            try:
                return make(epoch, number, chosen)
            except DatasetError as error:
                self._failures.append(error)
                raise

        return make_or_note


class Passes:
    """The training split, in another order and with other augmentation in each epoch.

    Both follow from the seed and `epoch` alone, so that a training that goes on after a kill sees what it would have
    seen, and however many threads there are.

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
        self.batches = pipeline._dataset(self._begin, self._make, len(indices), weighted=True)

    def __len__(self) -> int:
        return len(self.batches)

    def _begin(self) -> tuple[Any, Indices]:
        rng = np.random.default_rng((self._seed, self.epoch))
        return np.int64(self.epoch), rng.permutation(self._indices)

    def _make(self, epoch: int, number: int, chosen: Indices) -> tuple[npt.NDArray[Any], ...]:
        pipeline = self._pipeline
        pixels = pipeline.pixels[chosen]
        if self._augmentation:
            pixels = augment(
                pixels, self._augmentation, np.random.default_rng((self._seed, int(epoch), int(number) + 1))
            )
        return pipeline.preprocessor.scale(pixels), pipeline.targets[chosen], self._weights[chosen]
