"""Images a second of the input pipeline beside those of a training step, at 96x96 and 224x224 in batches of 32."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.bench.timing import interleaved
from tests.bench.training.folders import photo_folder
from tests.bench.training.table import Row

BATCH = 32
#: Images of a measured pass, and steps of a measured training without the pipeline.
_IMAGES, _STEPS = 256, 4
NETWORKS: dict[str, dict[str, Any]] = {
    "cnn base": {"architecture": "cnn", "size": "base"},
    "mobilenet_v2 0.35": {"architecture": "mobilenet_v2", "alpha": 0.35, "weights": "none"},
}


def rows(rounds: int) -> Iterator[Row]:
    """For each size and network: the pipeline must give more than the training takes, decoding or not."""
    for side in (96, 224):
        passes = {cache: _passes(side, cache) for cache in ("none", "temporary")}
        for name, settings in NETWORKS.items():
            model, batch = _model(settings, passes["temporary"])
            calls = [
                _pass(passes["none"]),
                _pass(passes["temporary"]),
                _training(model, batch),
                lambda model=model, passes=passes: model.fit(passes["temporary"].batches, verbose=0),
            ]
            decoding, cached, step, both = interleaved(calls, rounds)
            figures = {
                "decoding images/s": _IMAGES / decoding,
                "cached images/s": _IMAGES / cached,
                "training step images/s": BATCH * _STEPS / step,
                "both images/s": _IMAGES / both,
            }
            slowest = min(figures["decoding images/s"], figures["cached images/s"]) / figures["training step images/s"]
            yield Row(f"640x480 JPEGs, {side}x{side}, {name}", figures, slowest, ">= 1", slowest >= 1)


def _passes(side: int, cache: Any) -> Any:
    from runtime import Preprocessor
    from trainer.datasets import Geometry, load_dataset
    from trainer.pipeline import Pipeline
    from trainer.scaling import measure_scaling
    from trainer.spec import AUGMENTATIONS

    data = load_dataset(str(photo_folder()), Geometry((side, side), "rgb"), cache=cache)
    chosen = np.arange(len(data.targets))[:: len(data.targets) // _IMAGES][:_IMAGES]
    preprocessor = Preprocessor(measure_scaling(data.input, data.pixels, chosen))
    pipeline = Pipeline(data.pixels, data.targets, preprocessor, BATCH)
    return pipeline.passes(chosen, 0, AUGMENTATIONS, np.ones(len(data.targets), np.float32))


def _model(settings: dict[str, Any], passes: Any) -> tuple[Any, Any]:
    """A network ready to train, and one batch for it."""
    import keras
    import tensorflow as tf

    from trainer.architectures import build_model
    from trainer.spec import TrainingSpec
    from trainer.training import make_optimizer

    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()  # as training has it
    spec = TrainingSpec(**settings)
    batch = next(iter(passes.batches))
    model = build_model(spec, tuple(batch[0].shape[1:]), 2)
    model.compile(optimizer=make_optimizer(spec, 1e-4), loss="sparse_categorical_crossentropy")
    return model, batch


def _pass(passes: Any) -> Callable[[], None]:
    def run() -> None:
        for number, _batch in enumerate(passes.batches):  # noqa: B007
            pass
        assert number + 1 == math.ceil(_IMAGES / BATCH)

    return run


def _training(model: Any, batch: Any) -> Callable[[], None]:
    """Steps with one batch that is there already."""
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensors(batch).repeat(_STEPS)
    return lambda: model.fit(batches, verbose=0)
