"""The input pipeline: batches of scaled images for Keras, prepared by several threads while the model trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..data.dataset import PixelStore
from ..data.image_files import WORKERS
from ..data.sources import Indices
from ..errors import DatasetError
from .augmentation import augment

#: Bytes of batches that may be prepared at once, on a machine with many processors.
_MOST_AHEAD = 2**30
#: Gives the number of the pass that begins, and the indices in its order.
_Begin = Callable[[], tuple[Any, Indices]]
#: Makes a batch from the number of its pass, its own number, and the indices of its images.
_Make = Callable[[int, int, Indices], tuple[npt.NDArray[Any], ...]]
#: Gives a teacher's scores, float32 of shape (n, outputs), for the indices and the scaled samples of a batch.
SoftTargets = Callable[[Indices, npt.NDArray[Any]], npt.NDArray[np.float32]]


class Scaler(Protocol):
    """Scales samples for the network, as `runtime.make_preprocessor` gives it."""

    def scale(self, samples: npt.NDArray[Any], /) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True)
class Pipeline:
    """Batches of a data set, scaled by the same code as on the device.

    Attributes:
        pixels: uint8, shape (n, height, width, channels), read by index: they may lie on disk. For features float64,
            shape (n, features).
        targets: int32 of shape (n,), or float32 of shape (n, outputs); see `objective.targets_and_loss`.
        preprocessor: scales pixels to float32.
        batch_size: images a batch; the last batch of a split may be smaller.
    """

    pixels: PixelStore
    targets: npt.NDArray[Any]
    preprocessor: Scaler
    batch_size: int
    _failures: list[DatasetError] = field(default_factory=list, init=False, repr=False)

    def batches(self, indices: Indices, weights: npt.NDArray[np.float32] | None = None) -> Any:
        """A `tf.data.Dataset` of (float32 images, targets), in the order of the indices.

        Args:
            weights: float32, shape (n,): the weight of each image of the data set; a third part of the batches.
        """

        def make(_epoch: int, _number: int, chosen: Indices) -> tuple[npt.NDArray[Any], ...]:
            parts = self.preprocessor.scale(self.pixels[chosen]), self.targets[chosen]
            return parts if weights is None else (*parts, weights[chosen])

        begin, target = (lambda: (np.int64(0), indices)), self.targets.shape[1:]
        return self._dataset(begin, make, len(indices), target, weighted=weights is not None)

    def passes(
        self,
        indices: Indices,
        seed: int,
        augmentation: tuple[str, ...],
        weights: npt.NDArray[np.float32],
        soft_targets: SoftTargets | None = None,
    ) -> Passes:
        """Passes over a split for training: shuffled, augmented, weighted.

        Args:
            weights: float32, shape (n,): the weight of each image of the data set in the loss.
            soft_targets: gives a teacher's scores of a batch, which follow the targets: these are of shape (n, outputs)
                then, and what the batches hold of shape (n, 2 x outputs).
        """
        return Passes(self, indices, seed, augmentation, weights, soft_targets)

    @contextmanager
    def dataset_errors(self) -> Iterator[None]:
        """To be put around code that reads batches: replaces TensorFlow's error by the DatasetError that caused it.

        Raises:
            DatasetError: an image could not be read; the message names the file.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self._failures:
                raise self._failures[0] from error
            raise
        finally:
            self._failures.clear()

    def _dataset(self, begin: _Begin, make: _Make, count: int, target: tuple[int, ...], *, weighted: bool) -> Any:
        types = (tf.float32, tf.as_dtype(self.targets.dtype), tf.float32)[: 3 if weighted else 2]
        image = self.pixels.shape[1:]
        shapes = ((None, *image), (None, *target), (None,))

        # Neither function is declared stateful, though the first one reads the number of the epoch: where operations
        # are deterministic, as in training, one stateful function makes TensorFlow prepare all batches one by one.
        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def start(number: Any) -> Any:
            epoch, order = tf.numpy_function(lambda _: begin(), [number], (tf.int64, tf.int64), stateful=False)
            parts = tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, (None,))).batch(self.batch_size)
            return parts.enumerate().map(lambda number, chosen: (epoch, number, chosen))

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def finish(epoch: Any, number: Any, chosen: Any) -> Any:
            arrays = tf.numpy_function(self._noting_failures(make), [epoch, number, chosen], types, stateful=False)
            return tuple(tf.ensure_shape(array, shape) for array, shape in zip(arrays, shapes, strict=False))

        workers = max(1, min(WORKERS, _MOST_AHEAD // (4 * self.batch_size * math.prod(image))))
        dataset = tf.data.Dataset.range(1).flat_map(start)
        dataset = dataset.map(finish, num_parallel_calls=workers, deterministic=True)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(math.ceil(count / self.batch_size)))
        options = tf.data.Options()
        # There is nothing to tune, and TensorFlow 2.21 waits for its tuner at the end of each pass, for up to as long
        # as the pass took.
        options.autotune.enabled = False
        # A thread that waits for the disk must not hold up the model.
        options.threading.private_threadpool_size = workers
        return dataset.prefetch(2).with_options(options)

    def _noting_failures(self, make: _Make) -> _Make:
        """The same function, whose errors `dataset_errors` finds."""

        def make_or_note(epoch: int, number: int, chosen: Indices) -> tuple[npt.NDArray[Any], ...]:
            try:
                return make(epoch, number, chosen)
            except DatasetError as error:
                self._failures.append(error)
                raise

        return make_or_note


class Passes:
    """The training split, in another order and with other augmentation in each epoch.

    Both follow from the seed and `epoch` alone, whatever the number of threads. So a resumed training gets the batches
    that an uninterrupted one gets.

    Attributes:
        epoch: number of the next iteration, from 0; the training sets it.
        batches: a `tf.data.Dataset` of (float32 images, targets, float32 weights).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        indices: Indices,
        seed: int,
        augmentation: tuple[str, ...],
        weights: npt.NDArray[np.float32],
        soft_targets: SoftTargets | None = None,
    ) -> None:
        self.epoch = 0
        self._pipeline, self._indices, self._seed = pipeline, indices, seed
        self._augmentation, self._weights, self._soft_targets = augmentation, weights, soft_targets
        target = pipeline.targets.shape[1:]
        if soft_targets is not None:
            target = (2 * target[0],)
        self.batches = pipeline._dataset(self._begin, self._make, len(indices), target, weighted=True)

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
        samples, targets = pipeline.preprocessor.scale(pixels), pipeline.targets[chosen]
        if self._soft_targets is not None:
            targets = np.concatenate([targets, self._soft_targets(chosen, samples)], axis=1)
        return samples, targets, self._weights[chosen]
