"""A head that is trained on the features of its frozen backbone, which are computed once.

The backbone's features of an image do not change while the head alone learns. One pass over the images gives them, and
an epoch of the head then takes about a second. The images are not augmented. Measured with `efficientnet_lite0` on two
samples of CIFAR-10, 30 images a class: features of 4 augmented copies of each image changed the head's accuracy by
+0.6 and -1.0 points, and features of 8 copies by +0.2 and +0.1, which is chance.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from runtime.progress import progress

from .data.sources import Indices
from .models.pretrained import BACKBONE_POOL
from .session import TrainingSession

_log = logging.getLogger(__name__)

#: Features up to so many bytes are held in memory.
_MOST_BYTES = 2**29


class _Unscaled:
    """Stands for a preprocessor where there is nothing to scale."""

    def scale(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The same features."""
        return samples


def can_cache(session: TrainingSession) -> bool:
    """Whether the features of the training and the validation split fit into memory, on one device.

    A teacher scores the images of each epoch as they are augmented, and its student needs these images.
    """
    if session.strategy.mode or session.config.teacher is not None:
        return False
    images = len(session.splits.train) + len(session.splits.validation)
    width = session.model.get_layer(BACKBONE_POOL).output.shape[-1]
    return bool(4 * images * width <= _MOST_BYTES)


def cached_head(session: TrainingSession, check: Callable[[], None]) -> TrainingSession:
    """A session that trains the head of another one's model on features: the layers are the same objects.

    Its batches have the same images in the same order as the other session's.

    Args:
        session: its model has a frozen backbone.
        check: called after each batch; what it raises ends the computation.

    Raises:
        DatasetError: an image cannot be read any more; see `Pipeline.dataset_errors`.
    """
    model, splits, config = session.model, session.splits, session.config
    pool = model.get_layer(BACKBONE_POOL)
    extractor = keras.Model(model.input, pool.output)
    began = time.perf_counter()
    # Rows that nothing writes to take no memory.
    features = np.zeros((len(session.pipeline.targets), pool.output.shape[-1]), np.float32)
    chosen = np.concatenate([splits.train, splits.validation])
    features[chosen] = _predict(extractor, session, chosen, check)
    _log.info(
        f"head: trained on the backbone's features of {len(chosen):,} images, computed once and without augmentation "
        f"in {time.perf_counter() - began:.0f} s"
    )
    pipeline = replace(session.pipeline, pixels=features, preprocessor=_Unscaled())
    passes = pipeline.passes(splits.train, config.seed, (), session.objective.train_weights)
    if config.steps_per_epoch:
        passes.batches = passes.batches.take(config.steps_per_epoch)
    validation = pipeline.batches(splits.validation, session.objective.validation_weights)
    return replace(session, model=_head(model), pipeline=pipeline, passes=passes, validation=validation)


def _predict(
    extractor: Any, session: TrainingSession, chosen: Indices, check: Callable[[], None]
) -> npt.NDArray[np.float32]:
    batches = session.pipeline.batches(chosen)
    with progress(len(batches), "computing features") as bar:

        def report(batch: int, logs: Any) -> None:
            bar.update(1)
            check()

        callback = keras.callbacks.LambdaCallback(on_predict_batch_end=report)
        found: npt.NDArray[np.float32] = extractor.predict(batches, verbose=0, callbacks=[callback])
    return found


def _head(model: Any) -> Any:
    """The layers behind the backbone, as a model from features to scores."""
    names = [layer.name for layer in model.layers]
    first = names.index(BACKBONE_POOL)
    x = inputs = keras.Input(model.layers[first].output.shape[1:])
    for layer in model.layers[first + 1 :]:
        x = layer(x)
    return keras.Model(inputs, x, name=f"{model.name}_head")
