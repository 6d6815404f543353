"""Strategies: one training on every GPU of a machine, or on several machines, to the same run folder.

Each device computes the gradients of its share of a batch, and their mean updates the weights, which stay equal on all
devices. Batch normalization takes its statistics over the whole batch. So except for rounding, and for the random
numbers of dropout, the result is that of a training on one device.
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
from .cluster import MIRRORED, MULTI_WORKER, read_cluster, rendezvous

#: Environment variable of the seconds to wait for all workers at the start.
START_VARIABLE = "POCKETLENS_WORKERS_START_SECONDS"
_START_SECONDS = 300.0
#: TensorFlow's errors for a worker that is gone or does not respond.
_WORKER_LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)


class Strategy:
    """A training on one device; the base class of the other strategies.

    Attributes:
        chief: whether this process writes files.
        mode: the value of `distribute`, "" for one device.
    """

    chief = True
    mode = ""

    @contextmanager
    def scope(self) -> Iterator[None]:
        """A context for everything that is done with the model, from building it to measuring it."""
        yield

    def batches(self, batches: Any) -> Any:
        """The argument of `fit` for a `tf.data.Dataset` of (images, targets, weights)."""
        return batches

    def prepare_model(self, model: Any) -> None:
        """Make a compiled and built model train on all devices."""

    def check_same(self, digest: str) -> None:
        """Compare a digest, in hex, among all processes.

        Raises:
            TrainingError: a process has another digest.
        """

    def from_chief(self, content: bytes) -> bytes:
        """The chief's bytes, for every process."""
        return content


class Mirrored(Strategy):
    """Every GPU of this machine, or every logical CPU device if it has no GPU, with `tf.distribute.MirroredStrategy`.

    Raises:
        TrainingError: there is only one device.
    """

    mode = MIRRORED

    def __init__(self) -> None:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        devices = [device.name for device in tf.config.list_logical_devices(kind)]
        if len(devices) < 2:
            raise TrainingError(
                f"`distribute={MIRRORED}`: one {kind} device ({devices[0]}), expected two GPUs or more; leave it out"
            )
        # Not the default, whose collectives fail where batch normalization is synchronized too ("shape mismatch in
        # the collective instance").
        sum_up = tf.distribute.NcclAllReduce if kind == "GPU" else tf.distribute.ReductionToOneDevice
        self._strategy = tf.distribute.MirroredStrategy(devices, sum_up())

    @contextmanager
    def scope(self) -> Iterator[None]:
        """The scope of TensorFlow's strategy."""
        with self._strategy.scope():
            yield

    def batches(self, batches: Any) -> Any:
        """The shares of each batch, one after the other; each device takes the next."""
        count = self._strategy.num_replicas_in_sync

        def shares(_context: Any) -> Any:
            return batches.flat_map(
                lambda *batch: tf.data.Dataset.range(count).map(lambda rank: batch_share(batch, rank, count))
            )

        distributed = self._strategy.distribute_datasets_from_function(shares)
        # The number of steps. If it were unknown, Keras would try one step more, in which TensorFlow updates the
        # weights from old gradients before it finds that there is no batch.
        distributed._cardinality = batches.cardinality().numpy()
        return distributed

    def prepare_model(self, model: Any) -> None:
        """Synchronize batch normalization; Keras does the rest."""
        _synchronize(model)


def batch_share(batch: tuple[Any, Any, Any], rank: Any, count: int) -> tuple[Any, Any, Any]:
    """Every `count`-th image of a batch, from `rank` on, weighted so that the mean over all shares is the batch's.

    If a batch has fewer images than there are shares, the remaining shares get an image of weight 0.

    Args:
        batch: images, targets and float32 weights, each of n rows.

    Returns:
        The images, targets and weights of the share.
    """
    whole = tf.shape(batch[2])[0]
    first = tf.cast(rank, tf.int32)
    rows = tf.range(first, tf.maximum(first, whole), count)
    factor = tf.cast(count * tf.size(rows), tf.float32) / tf.cast(whole, tf.float32)
    rows = tf.cond(tf.size(rows) > 0, lambda: rows, lambda: tf.zeros(1, tf.int32))
    images, targets, weights = (tf.gather(part, rows) for part in batch)
    return images, targets, weights * factor


def _synchronize(model: Any) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def unsynchronize(model: Any) -> None:
    """Undo the synchronization of batch normalization, so that a trained model is saved as any other."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = False


class Workers(Strategy):
    """One process on each machine, as $TF_CONFIG names them; to be created before TensorFlow does anything else.

    Keras 3's `fit` does not support several machines (keras issue 20585). Here each worker has a model of its own, on
    its own device, and a training step of our own: it computes the gradients of the worker's share, takes their mean
    over all workers with `tf.distribute.MultiWorkerMirroredStrategy`, and applies the optimizer, to equal values in all
    workers.

    Raises:
        TrainingError: $TF_CONFIG is malformed, a worker did not come, or a worker has several GPUs.
    """

    mode = MULTI_WORKER

    def __init__(self) -> None:
        self._cluster = read_cluster(os.environ.get("TF_CONFIG"))
        self.chief = self._cluster.index == 0
        patience = float(os.environ.get(START_VARIABLE, _START_SECONDS))
        rendezvous(self._cluster, patience)
        # Without `timeout_seconds`: TensorFlow starts a thread for each operation that has one, which sleeps so long,
        # and after some thousand steps no thread can be made any more. Its health check finds a lost worker.
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        replicas = self._strategy.num_replicas_in_sync
        if replicas != self._count:
            raise TrainingError(
                f"`distribute={MULTI_WORKER}`: {self._count} workers with {replicas} GPUs, expected one each; start a "
                "worker for each GPU, and let CUDA_VISIBLE_DEVICES name the one that it is to use"
            )

    @property
    def _count(self) -> int:
        return len(self._cluster.addresses)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Replaces TensorFlow's error for a lost worker by a TrainingError."""
        try:
            yield
        except _WORKER_LOST as error:
            raise TrainingError(
                "another worker is gone, or stands still: the training cannot go on. Start all of them again with "
                f"`resume` ({' '.join(str(error.message).split())[:200]})"
            ) from error

    def batches(self, batches: Any) -> Any:
        """This worker's share of each batch."""
        return batches.map(lambda *batch: batch_share(batch, self._cluster.index, self._count))

    def prepare_model(self, model: Any) -> None:
        """Give the model the training step of several workers."""
        _synchronize(model)
        model.train_step = self._step(model)

    def _step(self, model: Any) -> Callable[[Any], Any]:
        """Keras's `train_step`, with the gradients, losses and scores of all workers."""
        mean_loss = next(metric for metric in model.metrics if metric.name == "loss")
        sum_up = tf.distribute.ReduceOp.SUM

        def on_share(images: Any, targets: Any, weights: Any) -> Any:
            context = tf.distribute.get_replica_context()
            with tf.GradientTape() as tape:
                scores = model(images, training=True)
                # In a replica's context Keras divides the loss by the number of workers, so that sums are means.
                loss = model.compute_loss(images, targets, scores, weights, training=True)
                scaled = model.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, model.trainable_weights)
            gradients = context.all_reduce(sum_up, gradients)
            loss = context.all_reduce(sum_up, loss)
            # TensorFlow gathers from the device of this replica, so the parts are copied there.
            parts = [tf.identity(part) for part in (targets, scores, weights)]
            return gradients, loss, context.all_gather(parts, axis=0)

        def step(data: Any) -> Any:
            gradients, loss, (targets, scores, weights) = self._strategy.run(on_share, args=data)
            model.optimizer.apply(gradients, model.trainable_weights)
            counted = weights > 0
            targets, scores, weights = (tf.boolean_mask(part, counted) for part in (targets, scores, weights))
            mean_loss.update_state(loss, sample_weight=tf.shape(targets)[0])
            return model.compute_metrics(None, targets, scores, weights)

        return step

    def check_same(self, digest: str) -> None:
        """Compare a digest among all workers."""
        own = np.frombuffer(bytes.fromhex(digest), np.int32)
        digests = self._gather(own[None])
        for index, row in enumerate(digests):
            if not np.array_equal(row, digests[0]):
                raise TrainingError(
                    f"`distribute={MULTI_WORKER}`: worker {index} ({self._cluster.addresses[index]}) has other "
                    "settings, images or versions than worker 0; give all of them the same"
                )

    def from_chief(self, content: bytes) -> bytes:
        """The chief's bytes, for every worker."""
        own = np.frombuffer(content + bytes(-len(content) % 4), np.int32) if self.chief else np.zeros(0, np.int32)
        length = self._gather(np.array([len(content)], np.int32))[0]
        return bytes(self._gather(own).tobytes()[:length])

    def _gather(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The rows of all workers, in their order."""

        def gather(values: Any) -> Any:
            context = tf.distribute.get_replica_context()
            return context.all_gather(tf.identity(values), axis=0)

        gathered: npt.NDArray[np.int32] = np.asarray(
            tf.function(lambda values: self._strategy.run(gather, args=(values,)))(tf.constant(rows))
        )
        return gathered


def make_strategy(distribute: str | None) -> Strategy:
    """The strategy for None (one device), `"mirrored"` or `"workers"`; raises as their classes."""
    if distribute == MIRRORED:
        return Mirrored()
    return Workers() if distribute == MULTI_WORKER else Strategy()
