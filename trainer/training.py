"""Fitting a model: the steps from a data set to a run folder, in order."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from runtime import Contract, ImageInput, Preprocessor, Provenance, __version__

from .architectures import build_model
from .callbacks import BestEpoch, EpochLog
from .datasets import Dataset
from .datasets.dataset import Indices
from .errors import TrainingError
from .metrics import Metrics, evaluate
from .pipeline import Pipeline
from .spec import TrainingSpec
from .splits import Splits, make_splits

_WARM_UP_SHARE = 0.05
_PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn")
#: Pictures from which mean and standard deviation are measured.
_SCALING_SAMPLE = 10_000


@dataclass(frozen=True)
class TrainedRun:
    """What a training gives; `run.write_run` makes a folder of it.

    Attributes:
        history: one row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.
        best_epoch: whose weights the model has, counted from 1.
        metrics: of the test split.
    """

    model: Any
    contract: Contract
    dataset: Dataset
    splits: Splits
    history: list[dict[str, float]]
    best_epoch: int
    metrics: Metrics
    spec: TrainingSpec


def train(spec: TrainingSpec, dataset: Dataset) -> TrainedRun:
    """Fit a classifier and measure it.

    The test split is used once, for the metrics of the best epoch by validation accuracy.

    Raises:
        DatasetError: the data set is too small to split.
        TrainingError: settings out of range, or the loss became NaN.
    """
    keras.utils.set_random_seed(spec.seed)
    tf.config.experimental.enable_op_determinism()
    splits = make_splits(dataset.targets, dataset.labels, dataset.given, spec.seed)
    contract = make_contract(dataset, splits.train, spec.seed)
    model = build_model(spec, contract.input.shape, len(contract.labels))
    pipeline = Pipeline(dataset.pixels, dataset.targets, Preprocessor(contract.input), spec.batch_size)
    batches = pipeline.batches(splits.train, shuffle_seed=spec.seed)
    validation = pipeline.batches(splits.validation)
    model.compile(
        optimizer=_optimizer(spec, len(batches) * spec.epochs),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    best = BestEpoch()
    log = EpochLog(len(batches), spec.epochs)
    # verbose=0: the log shows the time left to the end of the training, Keras only that to the end of an epoch.
    model.fit(batches, validation_data=validation, epochs=spec.epochs, shuffle=False, verbose=0, callbacks=[best, log])
    best.restore(model)
    scores = model.predict(pipeline.batches(splits.test), verbose=0)
    metrics = evaluate(scores, dataset.targets[splits.test], contract.labels)
    return TrainedRun(model, contract, dataset, splits, log.rows, best.epoch, metrics, spec)


def make_contract(dataset: Dataset, train_indices: Indices, seed: int) -> Contract:
    """The contract of a model trained on this data set: its geometry, and the scaling measured on training pixels."""
    sample = train_indices[:: max(1, len(train_indices) // _SCALING_SAMPLE)]
    return Contract(
        labels=dataset.labels,
        input=_with_scaling(dataset.input, dataset.pixels[sample]),
        provenance=Provenance(dataset.name, seed, _date(dataset), _versions()),
    )


def _with_scaling(spec: ImageInput, pixels: npt.NDArray[np.uint8]) -> ImageInput:
    """Scaling to about zero mean and unit variance.

    The mean is rounded to a whole pixel and shared by the channels, as is the standard deviation. So a
    quantized input can have the mean as its zero point and 1/std as its scale, and the device feeds the pixels
    raw; and the zeros that "same" padding adds are the mean pixel.
    """
    mean = float(round(float(pixels.mean(dtype=np.float64))))
    std = max(1.0, round(float(pixels.std(dtype=np.float64)), 2))
    return replace(spec, mean=(mean,) * spec.channels, std=(std,) * spec.channels)


def _date(dataset: Dataset) -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return dataset.date
    if not epoch.isdecimal():
        raise TrainingError(f"SOURCE_DATE_EPOCH is {epoch!r}, expected seconds since 1970")
    return datetime.fromtimestamp(int(epoch), timezone.utc).date().isoformat()


def _versions() -> dict[str, str]:
    return {"pocketlens": __version__} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _optimizer(spec: TrainingSpec, steps: int) -> Any:
    warm_up = max(1, round(_WARM_UP_SHARE * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=spec.learning_rate, warmup_steps=warm_up
    )
    return keras.optimizers.get({"class_name": spec.optimizer, "config": {"learning_rate": schedule}})
