"""The scores of a model on samples: of a Keras model here, of a TensorFlow Lite file in a process as on a device."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime import Contract, load_pixels, make_preprocessor
from runtime.child_process import ChildError
from runtime.child_worker import ChildWorker, PendingCall
from runtime.files import shown
from runtime.interpreter import AUTO
from runtime.progress import progress

from ..data.run_folder import RunFolder, read_run
from ..data.sources import Indices, Source
from ..errors import RunError
from .corruptions import VERSIONS, corrupted_versions
from .predictions import Scores, scores_of_both
from .worker import DESCRIPTION

_BATCH = 128
#: Calls that are timed: with so many the median is steady, and a large split costs nothing more.
_TIMED_CALLS = 200


class ModelScores(NamedTuple):
    """What a model file gave for samples.

    Attributes:
        scores: float32, shape (n, labels).
        uncalibrated: the same without the temperature of the contract.
        output_step: the scale of the output tensor, 0 where it is float.
        interpreter: library and version that ran it.
    """

    scores: Scores
    uncalibrated: Scores
    output_step: float
    interpreter: str


class ScoringWorker(ChildWorker):
    """One child process without TensorFlow that scores any number of models, one after the other, on all cores.

    A sample is decoded once, however many models are scored with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()

    def add_samples(self, source: Source) -> Path:
        """Hand over samples.

        Returns:
            Their folder, which names them in other calls.
        """
        folder = self.folder / f"samples-{next(self._numbers)}"
        folder.mkdir()
        (folder / DESCRIPTION).write_text(json.dumps(source.write(folder)), encoding="utf-8")
        return folder

    def submit_scores(
        self,
        model: Path,
        samples: Path,
        contract: Contract | None = None,
        library: str = AUTO,
        *,
        what: str = "images",
        trusted: bool = False,
    ) -> PendingScores:
        """Have samples scored; goes on at once.

        Args:
            model: a model file; a bare FlatBuffer where `contract` is given.
            samples: from `add_samples`.
            contract: without it the file carries its own.
            library: the interpreter's, as `Classifier` takes it.
            what: the samples in the label of the progress, such as "validation images"; "" to report none.
            trusted: for a file that this machine made: loops in it are no reason to refuse it.
        """
        out, name = self._new_file(), shown(model.name)
        text = None if contract is None else contract.to_json()
        label = f"scoring {name} on {what}" if what else ""
        arguments = (str(model.resolve()), text, library, str(samples), str(out), label, trusted)
        return PendingScores(self.submit("trainer.evaluation.worker:score_samples", *arguments), out, name)

    def submit_corrupted(
        self, model: Path, samples: Path, library: str = AUTO, *, seed: int = 0, trusted: bool = False
    ) -> PendingScores:
        """Have images scored under every corruption; goes on at once. The scores have shape (n, versions, labels).

        The versions are those of `corruptions.corrupted_versions`.

        Args:
            model, samples, library, trusted: as for `submit_scores`.
            seed: of what is drawn at random.
        """
        out, name = self._new_file(), shown(model.name)
        label = f"scoring {name} on corrupted images"
        arguments = (str(model.resolve()), library, str(samples), str(out), label, seed, trusted)
        return PendingScores(self.submit("trainer.evaluation.worker:score_corrupted", *arguments), out, name)

    def _new_file(self) -> Path:
        return self.folder / f"scores-{next(self._numbers)}.npz"

    def time_calls(self, model: Path, samples: Path, library: str = AUTO, *, trusted: bool = False) -> dict[str, float]:
        """Median and 95th percentile of one call in ms, decoding included: of the first samples, alone, in one thread.

        Raises:
            RunError: the process failed.
        """
        arguments = (str(model.resolve()), library, str(samples), _TIMED_CALLS, trusted)
        try:
            found: dict[str, float] = self.submit("trainer.evaluation.worker:time_calls", *arguments).result()
        except ChildError as error:
            raise RunError(f"{shown(model.name)}: cannot be timed: {error}") from error
        return found


@dataclass(frozen=True)
class PendingScores:
    """Scores that a worker is asked for."""

    call: PendingCall
    out: Path
    name: str

    def result(self) -> ModelScores:
        """Wait for the scores; call it once.

        Raises:
            RunError: the model cannot be scored, or its process died of it.
        """
        try:
            found = self.call.result()
        except ChildError as error:
            raise RunError(f"{self.name}: cannot be scored: {error}") from error
        with np.load(self.out, allow_pickle=False) as arrays:
            scores = ModelScores(arrays["scores"], arrays["uncalibrated"], found["output_step"], found["interpreter"])
        self.out.unlink()
        return scores


def score_file(model: Path, source: Source, chosen: Indices) -> tuple[Scores, str]:
    """Scores of a TensorFlow Lite file, float32 (n, labels), and the interpreter that ran it.

    Raises:
        RunError: its process failed.
    """
    with ScoringWorker() as worker:
        found = worker.submit_scores(model, worker.add_samples(source.select(chosen))).result()
        return found.scores, found.interpreter


def score_corrupted_file(model: Path, source: Source, chosen: Indices, seed: int) -> Scores:
    """Scores of a TensorFlow Lite file under every corruption, float32 (n, versions, labels).

    Raises:
        RunError: its process failed.
    """
    with ScoringWorker() as worker:
        return worker.submit_corrupted(model, worker.add_samples(source.select(chosen)), seed=seed).result().scores


@dataclass(frozen=True)
class TrainedModel:
    """The Keras model of a run, with the preprocessing that it was trained with.

    Attributes:
        run: the run folder; its `contract` has labels, task and input.
        model: the Keras model, which takes images that are scaled already.
    """

    run: RunFolder
    model: Any

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the scores."""
        return self.run.contract.labels

    def predict(self, images: Any) -> Scores:
        """Scores of images or vectors of features: float32, shape (n, labels); for binary those of both labels.

        Args:
            images: a list of paths, of PIL images or of uint8 arrays in any size, or one uint8 array of shape
                (n, height, width) or (n, height, width, channels), with pixels of 0 to 255. They are resized and scaled
                as on a device. For a model of features vectors, or an array of shape (n, features), in their units. A
                path alone is one image.

        Raises:
            InputError: an image or a vector cannot be used.
            RunError: the model gives scores that are no numbers.
        """
        given = [images] if isinstance(images, (str, bytes, os.PathLike)) else images
        prepare = make_preprocessor(self.run.contract.input)
        return self._scores(map(prepare, given))

    def _scores(self, prepared: Iterator[npt.NDArray[Any]], advance: Callable[[int], None] | None = None) -> Scores:
        """Scores of prepared samples, of which no more than a batch is in memory."""
        parts = [np.empty((0, self.run.contract.outputs), np.float32)]
        while batch := list(itertools.islice(prepared, _BATCH)):
            parts.append(np.asarray(self.model(np.concatenate(batch), training=False)))
            if advance:
                advance(len(batch))
        return _checked(np.concatenate(parts), self.run)


def load(run: Path | str) -> TrainedModel:
    """Load the Keras model of a run folder together with its preprocessing. No code in the folder is run.

    `model.keras` loaded by Keras itself takes images that are scaled as `contract.json` says; fed with others, it
    answers worse without an error.

    Raises:
        RunError: the folder is no run, or its model cannot be loaded.

    Example:
        from trainer import load
        print(load("runs/digits").predict(["seven.png"]))
    """
    return _load_model(read_run(Path(run)))


def _load_model(run: RunFolder) -> TrainedModel:
    from ..keras_inspection.archive import load_keras_model

    return TrainedModel(run, load_keras_model(run.model_path))


def score_keras(run: RunFolder, source: Source, chosen: Indices) -> Scores:
    """Scores of a run's Keras model, float32 (n, labels); for the task binary those of both labels.

    Every sample is prepared as on a device, and no more than a batch of them is in memory.

    Raises:
        DatasetError: a sample cannot be read any more.
        ImageError: it cannot be decoded.
        RunError: the model cannot be loaded, or gives scores that are no numbers.
    """
    prepared = source.map(chosen.tolist(), make_preprocessor(run.contract.input))
    with progress(len(chosen), "scoring model.keras") as bar:
        return _load_model(run)._scores(prepared, bar.update)


def score_corrupted_keras(run: RunFolder, source: Source, chosen: Indices, seed: int) -> Scores:
    """The same under every corruption, float32 (n, versions, labels): those of `corruptions.corrupted_versions`."""
    spec = run.contract.image_input
    scale = make_preprocessor(spec).scale
    pictures = source.map(chosen.tolist(), lambda sample: load_pixels(sample, spec))
    versions = (
        scale(version[np.newaxis])
        for pixels in pictures
        for version in corrupted_versions(pixels, seed, colour=spec.colour)
    )
    with progress(len(chosen) * VERSIONS, "scoring model.keras on corrupted images") as bar:
        return _load_model(run)._scores(versions, bar.update).reshape(len(chosen), VERSIONS, -1)


def _checked(scores: Scores, run: RunFolder) -> Scores:
    contract: Contract = run.contract
    if scores.shape[1:] != (contract.outputs,):
        raise RunError(
            f"{run.name}: the model answers {scores.shape[1:]}, its contract says {contract.outputs} outputs"
        )
    if not np.isfinite(scores).all():
        raise RunError(f"{run.name}: the model gave scores that are not numbers (NaN); train again")
    return scores_of_both(scores) if contract.task == "binary" else scores
