"""Scores of each training sample by a model that has not learned from it: the folds of a run, trained one by one."""

from __future__ import annotations

import io
import logging
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from runtime import make_preprocessor
from runtime.cache import FOLDS
from runtime.cache_contents import place_of_cache
from runtime.files import write_whole

from .backbones import check_model_file
from .config import TrainingConfig
from .data import Dataset
from .data.folds import NO_FOLD, groups_of_copies, make_folds
from .data.run_dataset import dataset_of_run
from .data.run_folder import RunFolder
from .data.sources import Indices
from .errors import RunError, TrainingError
from .evaluation.label_suspects import OutOfFold
from .evaluation.predictions import Scores, scores_of_both
from .fitting.checkpoint import training_identity
from .fitting.input_pipeline import Pipeline
from .training import TrainedRun, train

_log = logging.getLogger(__name__)

DEFAULT_FOLDS = 4
#: The share of the run's epochs that a fold gets, and its least number: a ranking needs no last tenth of a point.
_EPOCH_SHARE, _LEAST_EPOCHS = 3, 3


def score_out_of_fold(run: RunFolder, folds: int = DEFAULT_FOLDS, epochs: int | None = None) -> OutOfFold:
    """Train a model for each fold by the run's own settings, and score the fold with it.

    Near copies are in one fold. The samples of the test split are in none, and no model learns from them. The kept
    epoch of a fold is chosen by a tenth of the samples outside of it. The scores of a finished fold are kept in the
    cache, with a checkpoint of the one that is under way: a second call goes on where the first was stopped.

    Args:
        folds: at least 2.
        epochs: of each fold; None for a third of the run's, at least 3, at most the run's.

    Raises:
        RunError: the run has several labels for a sample, or its settings cannot be read.
        DatasetError: an image has changed, or there are too few samples.
        TrainingError: a training diverged.
        KeyboardInterrupt: a training was interrupted.
    """
    config = fold_config(run, epochs)
    if run.contract.task == "multilabel":
        raise RunError(
            f"{run.name}: its samples have several labels each, and confident learning needs one; it works for the "
            "tasks multiclass and binary"
        )
    members = np.sort(np.concatenate([run.splits["train"], run.splits["validation"]]))
    members = members[run.targets[members] >= 0]
    dataset = dataset_of_run(run, members, {})
    targets = run.targets[members]
    found = make_folds(targets, groups_of_copies(dataset.pixels, members), folds, config.seed)
    scores = np.zeros((len(members), len(dataset.labels)), np.float32)
    formality = members[np.unique(targets, return_index=True)[1]]
    logging.getLogger("tensorflow").addFilter(_is_no_note_on_tracing)
    for fold in range(folds):
        held, rest = members[found == fold], members[found != fold]
        if not len(held):
            continue
        # A training measures a test split that has every class; the figures of this one are used by nobody.
        part = replace(dataset, given={"train": rest, "test": formality})
        label = f"fold {fold + 1} of {folds}"
        scores[found == fold] = _fold_scores(part, config, held, label)
    examined = found != NO_FOLD
    return OutOfFold(members[examined], scores[examined], int((~examined).sum()), folds, config.epochs)


def _is_no_note_on_tracing(record: logging.LogRecord) -> bool:
    """Hide TensorFlow's warning that `predict` is compiled often: each fold has a model of its own."""
    return "retracing" not in str(record.msg)


def fold_config(run: RunFolder, epochs: int | None = None) -> TrainingConfig:
    """The settings of a fold: those of the run with fewer epochs, on all samples.

    The teacher is left out, as it has learned from the labels in question; so is the quantization-aware phase.

    Raises:
        RunError: the run's settings cannot be read.
        TrainingError: the run's own network is missing.
    """
    names = {"normalise": "normalize"}
    known = {field.name for field in fields(TrainingConfig)}
    settings = {names.get(name, name): value for name, value in run.metrics["settings"].items()}
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items() if name in known}
    try:
        config = TrainingConfig(**settings)
    except (TrainingError, TypeError) as error:
        raise RunError(f"{run.name}: its settings cannot be used: {error}; train again") from error
    if config.model_file is not None:
        check_model_file(config.model_file)
    fewer = epochs or min(config.epochs, max(_LEAST_EPOCHS, math.ceil(config.epochs / _EPOCH_SHARE)))
    head = config.head_epochs if config.head_epochs is None else min(config.head_epochs, fewer // 2)
    return replace(
        config,
        epochs=fewer,
        head_epochs=head,
        teacher=None,
        train_samples=None,
        quantization_aware=False,
        quantization_aware_epochs=0,
    )


def _fold_scores(dataset: Dataset, config: TrainingConfig, held: Indices, label: str) -> Scores:
    """The scores of the held-out samples: those in the cache, or by a model that is trained now."""
    folder, identity = place_of_cache() / FOLDS, training_identity(config, dataset)
    file, checkpoint = folder / f"{identity}.npz", folder / f"{identity}.checkpoint.npz"
    kept = _read_scores(file, held, len(dataset.labels))
    if kept is not None:
        _log.info(f"{label}: trained before")
        return kept
    _log.info(f"{label}: training on {len(dataset.given['train']):,} samples, then scoring {len(held):,} others")
    keras.utils.clear_session()
    run = train(dataset, config, checkpoint_file=checkpoint, resume=True)
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    if run.stopped in ("diverged", "unreadable"):
        raise TrainingError(run.problem or f"{label}: the loss is not a number any more: the training diverged")
    scores = _predict(run, held, config.batch_size)
    buffer = io.BytesIO()
    np.savez(buffer, scores=scores, held=held)
    write_whole(file, buffer.getvalue())
    checkpoint.unlink(missing_ok=True)
    return scores


def _predict(run: TrainedRun, chosen: Indices, batch_size: int) -> Scores:
    pipeline = Pipeline(run.dataset.pixels, run.dataset.targets, make_preprocessor(run.contract.input), batch_size)
    with pipeline.dataset_errors():
        scores = np.asarray(run.model.predict(pipeline.batches(chosen), verbose=0))
    return scores_of_both(scores) if run.contract.task == "binary" else scores


def _read_scores(file: Path, held: Indices, labels: int) -> Scores | None:
    """Scores that an earlier call left; None where there are none, or damaged ones."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            scores: npt.NDArray[Any] = arrays["scores"]
            same = np.array_equal(arrays["held"], held)
    except Exception:  # numpy and zipfile raise many kinds on damaged files
        return None
    usable = same and scores.shape == (len(held), labels) and scores.dtype == np.float32
    return scores if usable and np.isfinite(scores).all() else None
