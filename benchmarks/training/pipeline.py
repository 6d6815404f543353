"""Compares the images a second of the input pipeline and of a training step, at 96x96 and 224x224 in batches of 32.

The rows also show the processor time of an image, which depends less on other work on the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from benchmarks.training.folders import photo_folder
from benchmarks.training.table import Row

BATCH = 32
#: The batches of a measured pass.
_BATCHES = 8
NETWORKS: dict[str, dict[str, Any]] = {
    "cnn base": {"architecture": "cnn", "size": "base"},
    "mobilenet_v2 0.35": {"architecture": "mobilenet_v2", "alpha": 0.35, "weights": "none"},
}


class _BatchTime(NamedTuple):
    """Wall-clock and processor seconds of a batch."""

    seconds: float
    processor: float


def rows(rounds: int) -> Iterator[Row]:
    """Compare them for each size and network. Both share the processor, so the pipeline must be much faster."""
    for side in (96, 224):
        decoding, cached = (_passes(side, cache) for cache in ("none", "temporary"))
        for name, settings in NETWORKS.items():
            model, ready = _model(settings, cached)
            measures: dict[str, Callable[[], _BatchTime]] = {
                "decoding": partial(_pass, decoding),
                "cached": partial(_pass, cached),
                "training step": partial(_training, model, ready),
                "both": partial(_training, model, cached.batches),
            }
            times: dict[str, list[_BatchTime]] = {what: [] for what in measures}
            for _ in range(rounds):  # alternately, so that other work on the machine affects all equally
                for what, measure in measures.items():
                    times[what].append(measure())
            seconds, processor = (
                {what: statistics.median(t[part] for t in measured) for what, measured in times.items()}
                for part in (0, 1)
            )
            figures = {f"{what} images/s": BATCH / value for what, value in seconds.items()}
            figures |= {f"{what} processor ms/image": 1e3 / BATCH * value for what, value in processor.items()}
            # Decoding in each epoch is for machines without room on disk: it is shown, but has no bound.
            ratio = seconds["training step"] / seconds["cached"]
            yield Row(f"640x480 JPEGs, {side}x{side}, {name}", figures, ratio, ">= 2 (cached / step)", ratio >= 2)


def _passes(side: int, cache: Any) -> Any:
    from runtime import ImageInput, make_preprocessor
    from trainer.config import AUGMENTATIONS
    from trainer.data import Geometry, load_dataset
    from trainer.data.normalization import measure_scaling
    from trainer.fitting.input_pipeline import Pipeline

    data = load_dataset(str(photo_folder()), Geometry((side, side), "rgb"), cache=cache)
    chosen = np.random.default_rng(0).permutation(len(data.targets))[: _BATCHES * BATCH]
    assert isinstance(data.input, ImageInput)
    preprocessor = make_preprocessor(measure_scaling(data.input, data.pixels, chosen))
    pipeline = Pipeline(data.pixels, data.targets, preprocessor, BATCH)
    return pipeline.passes(chosen, 0, AUGMENTATIONS, np.ones(len(data.targets), np.float32))


def _model(settings: dict[str, Any], passes: Any) -> tuple[Any, Any]:
    """A network that has trained a step, and batches for it that are prepared in memory."""
    import keras
    import tensorflow as tf

    from trainer.config import TrainingConfig
    from trainer.fitting.optimizers import make_optimizer
    from trainer.models.factory import build_model

    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()  # as in our training
    config = TrainingConfig(**settings)
    # With the pipeline's own signature: for another one Keras would trace the step again.
    ready = passes.batches.take(1).cache().repeat(_BATCHES)
    model = build_model(config, tuple(ready.element_spec[0].shape[1:]), 2)
    model.compile(optimizer=make_optimizer(config, 1e-4), loss="sparse_categorical_crossentropy")
    model.fit(ready, shuffle=False, verbose=0)
    return model, ready


def _pass(passes: Any) -> _BatchTime:
    """The time of a batch in a whole pass of the pipeline."""
    started, processor = time.perf_counter(), time.process_time()
    assert sum(1 for _ in passes.batches) == _BATCHES
    return _BatchTime((time.perf_counter() - started) / _BATCHES, (time.process_time() - processor) / _BATCHES)


def _training(model: Any, batches: Any) -> _BatchTime:
    """The time of a training step: the median of the second half, whose batches were not prepared in advance."""
    import keras

    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    processor = time.process_time()
    model.fit(batches, shuffle=False, verbose=0, callbacks=[clock])
    processor = (time.process_time() - processor) / _BATCHES
    return _BatchTime(statistics.median(b - a for a, b in list(pairwise(ends))[_BATCHES // 2 - 1 :]), processor)
