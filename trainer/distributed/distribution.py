"""`--distribute`: one training on every GPU of a machine, or on several machines; the same run folder comes out.

A batch is shared out among the devices, each works out the gradients of its share, and their mean moves the weights,
which stay equal everywhere. Batch normalization takes its statistics over the whole batch. So but for rounding, and for
what dropout draws, a training gives what it gives on one device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ..errors import TrainingError
from .cluster import MIRRORED, WORKERS, read_cluster, rendezvous

#: Seconds to wait for all workers at the start, and for a share of a step; both are set by the environment in tests.
START_VARIABLE, STEP_VARIABLE = "POCKETLENS_WORKERS_START_SECONDS", "POCKETLENS_WORKERS_STEP_SECONDS"
_START_SECONDS, _STEP_SECONDS = 300.0, 300.0
#: How TensorFlow tells that a worker is gone, or stands still.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)


class Distribution:
    """One device: nothing is shared out. The others inherit it.

    Attributes:
        chief: whether this process writes files.
        mode: as `--distribute` names it, "" for one device.
    """

    chief = True
    mode = ""

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Around all that is done with the model, from building it to measuring it."""
        yield

    def batches(self, batches: Any) -> Any:
        """What `fit` is to be given instead of a `tf.data.Dataset` of (pictures, targets, weights)."""
        return batches

    def adopt(self, model: Any) -> None:
        """Make a model, compiled and built, train on all devices."""

    def agree(self, what: str) -> None:
        """Compare a digest among all processes.

        Raises:
            TrainingError: another process has another.
        """

    def from_chief(self, content: bytes) -> bytes:
        """The chief's bytes, in every process."""
        return content


class Mirrored(Distribution):
    """Every GPU of this machine, or, without one, every logical CPU device, through `tf.distribute.MirroredStrategy`.

    Raises:
        TrainingError: there is one device alone.
    """

    mode = MIRRORED

    def __init__(self) -> None:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        devices = [device.name for device in tf.config.list_logical_devices(kind)]
        if len(devices) < 2:
            raise TrainingError(
                f"--distribute {MIRRORED}: one {kind} device ({devices[0]}), expected two GPUs or more; leave it out"
            )
        # Not the default, whose collectives fail where batch normalization is synchronized too ("shape mismatch in
        # the collective instance").
        sum_up = tf.distribute.NcclAllReduce if kind == "GPU" else tf.distribute.ReductionToOneDevice
        self._strategy = tf.distribute.MirroredStrategy(devices, sum_up())

    @contextmanager
    def scope(self) -> Iterator[None]:
        """The strategy's own."""
        with self._strategy.scope():
            yield

    def batches(self, batches: Any) -> Any:
        """The shares of each batch, one after the other: each device takes the next."""
        count = self._strategy.num_replicas_in_sync

        def shares(_context: Any) -> Any:
            return batches.flat_map(
                lambda *batch: tf.data.Dataset.range(count).map(lambda rank: share(batch, rank, count))
            )

        distributed = self._strategy.distribute_datasets_from_function(shares)
        # In steps, as Keras counts. Were it unknown, Keras would try one step more, in which TensorFlow moves the
        # weights by what is left of earlier gradients before it finds that no share is there.
        distributed._cardinality = batches.cardinality().numpy()
        return distributed

    def adopt(self, model: Any) -> None:
        """Batch normalization over all devices; the rest is Keras's own."""
        _synchronize(model)


def share(batch: tuple[Any, Any, Any], rank: Any, count: int) -> tuple[Any, Any, Any]:
    """Every `count`-th picture of a batch, from `rank` on, weighed so that the mean over all shares is the batch's.

    A batch of fewer pictures than shares leaves some empty: they get a picture that counts nothing.

    Args:
        batch: pictures, targets and float32 weights, each of n rows.

    Returns:
        The same of the share's rows.
    """
    whole = tf.shape(batch[2])[0]
    first = tf.cast(rank, tf.int32)
    rows = tf.range(first, tf.maximum(first, whole), count)
    factor = tf.cast(count * tf.size(rows), tf.float32) / tf.cast(whole, tf.float32)
    rows = tf.cond(tf.size(rows) > 0, lambda: rows, lambda: tf.zeros(1, tf.int32))
    pictures, targets, weights = (tf.gather(part, rows) for part in batch)
    return pictures, targets, weights * factor


def _synchronize(model: Any) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def as_on_one_device(model: Any) -> None:
    """Take from a trained model what only a distributed training needs, so that it is saved as any other."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = False


class Workers(Distribution):
    """One process a machine, as $TF_CONFIG names them; to be made before TensorFlow does anything else.

    Keras 3's `fit` knows nothing of several machines (keras issue 20585). Here each worker has a model of its own, on
    its own device; the step of the training is ours: the gradients of the worker's share, their mean over all workers
    by `tf.distribute.MultiWorkerMirroredStrategy`, and the optimizer, applied to the same values everywhere.

    Raises:
        TrainingError: $TF_CONFIG is not as it must be, not all workers came, or one has several GPUs.
    """

    mode = WORKERS

    def __init__(self) -> None:
        self._cluster = read_cluster(os.environ.get("TF_CONFIG"))
        self.chief = self._cluster.index == 0
        self._options = tf.distribute.experimental.CommunicationOptions(
            timeout_seconds=float(os.environ.get(STEP_VARIABLE, _STEP_SECONDS))
        )
        patience = float(os.environ.get(START_VARIABLE, _START_SECONDS))
        rendezvous(self._cluster, patience)
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=self._options)
        replicas = self._strategy.num_replicas_in_sync
        if replicas != self._count:
            raise TrainingError(
                f"--distribute {WORKERS}: {self._count} workers with {replicas} GPUs, expected one each; start a "
                "worker for each GPU, and let CUDA_VISIBLE_DEVICES name the one that it is to use"
            )

    @property
    def _count(self) -> int:
        return len(self._cluster.addresses)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Nothing but that a lost worker is told in a plain line."""
        try:
            yield
        except _LOST as error:
            raise TrainingError(
                "another worker is gone, or stands still: the training cannot go on. Start all of them again with "
                f"--resume ({' '.join(str(error.message).split())[:200]})"
            ) from error

    def batches(self, batches: Any) -> Any:
        """This worker's share of each batch."""
        return batches.map(lambda *batch: share(batch, self._cluster.index, self._count))

    def adopt(self, model: Any) -> None:
        """Give the model our step."""
        _synchronize(model)
        model.train_step = self._step(model)

    def _step(self, model: Any) -> Callable[[Any], Any]:
        """What Keras's `train_step` does, with gradients, losses and answers of all workers."""
        loss_so_far = next(metric for metric in model.metrics if metric.name == "loss")
        sum_up = tf.distribute.ReduceOp.SUM

        def on_share(pictures: Any, targets: Any, weights: Any) -> Any:
            context = tf.distribute.get_replica_context()
            with tf.GradientTape() as tape:
                answers = model(pictures, training=True)
                # Within a replica's context Keras divides by the number of workers, so that sums are means.
                loss = model.compute_loss(pictures, targets, answers, weights, training=True)
                scaled = model.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, model.trainable_weights)
            gradients = context.all_reduce(sum_up, gradients, options=self._options)
            loss = context.all_reduce(sum_up, loss, options=self._options)
            # Copied, so that they lie on the device of this replica, which TensorFlow asks them for.
            seen = [tf.identity(part) for part in (targets, answers, weights)]
            return gradients, loss, context.all_gather(seen, axis=0, options=self._options)

        def step(data: Any) -> Any:
            gradients, loss, (targets, answers, weights) = self._strategy.run(on_share, args=data)
            model.optimizer.apply(gradients, model.trainable_weights)
            counted = weights > 0
            targets, answers, weights = (tf.boolean_mask(part, counted) for part in (targets, answers, weights))
            loss_so_far.update_state(loss, sample_weight=tf.shape(targets)[0])
            return model.compute_metrics(None, targets, answers, weights)

        return step

    def agree(self, what: str) -> None:
        """Compare a digest among all workers."""
        mine = np.frombuffer(bytes.fromhex(what), np.int32)
        theirs = self._gathered(mine[None])
        for index, row in enumerate(theirs):
            if not np.array_equal(row, theirs[0]):
                raise TrainingError(
                    f"--distribute {WORKERS}: worker {index} ({self._cluster.addresses[index]}) has other settings, "
                    "images or versions than worker 0; give all of them the same"
                )

    def from_chief(self, content: bytes) -> bytes:
        """The chief's bytes, in every worker."""
        mine = np.frombuffer(content + bytes(-len(content) % 4), np.int32) if self.chief else np.zeros(0, np.int32)
        length = self._gathered(np.array([len(content)], np.int32))[0]
        return bytes(self._gathered(mine).tobytes()[:length])

    def _gathered(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The rows of all workers, in their order."""

        def gather(values: Any) -> Any:
            context = tf.distribute.get_replica_context()
            return context.all_gather(tf.identity(values), axis=0, options=self._options)

        gathered: npt.NDArray[np.int32] = np.asarray(
            tf.function(lambda values: self._strategy.run(gather, args=(values,)))(tf.constant(rows))
        )
        return gathered


def distribute(mode: str | None) -> Distribution:
    """The distribution of a name: None, `"mirrored"` or `"workers"`; raises as these."""
    if mode == MIRRORED:
        return Mirrored()
    return Workers() if mode == WORKERS else Distribution()
