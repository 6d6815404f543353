"""Predictions for the splits of a run, from the scoring worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from runtime import Contract
from runtime.child_process import ChildError
from runtime.features import Vector
from runtime.files import shown
from runtime.model_file import read_model
from trainer.data.run_folder import RunFolder
from trainer.data.sources import Indices, VectorSource
from trainer.errors import RunError
from trainer.evaluation.predictions import Places, Predictions, Scores
from trainer.evaluation.robustness import Robustness, measure_robustness
from trainer.evaluation.scoring import PendingScores, ScoringWorker

from .errors import ExportError


class SplitScorer:
    """Scores model files on the splits of one run.

    Args:
        worker: the scoring worker.
        run: the run whose samples and true labels are used.
        library: the interpreter library, as for `Classifier`.
    """

    def __init__(self, worker: ScoringWorker, run: RunFolder, library: str) -> None:
        self.worker = worker
        self.run = run
        self.library = library
        self._folders: dict[str, Path] = {}

    def has_samples(self, split: str) -> bool:
        """Whether a split has any samples."""
        return len(self.run.splits[split]) > 0

    def samples(self, split: str) -> Path:
        """The folder by which the worker knows the samples of a split."""
        return self.chosen_samples(split, self.run.splits[split])

    def chosen_samples(self, name: str, indices: Indices) -> Path:
        """The folder by which the worker knows some samples; it is made at the first call with a name."""
        if name not in self._folders:
            self._folders[name] = self.worker.add_samples(self.run.source.select(indices))
        return self._folders[name]

    def submit(self, model: Path, split: str, contract: Contract | None = None) -> Callable[[], Predictions]:
        """Submit the scoring of a split.

        Args:
            model: a model file; a bare FlatBuffer where `contract` is given.
            split: "train", "validation" or "test".
            contract: without it the file carries its own.

        Returns:
            A function that waits for the scores. It raises an ExportError if the model cannot be scored.

        Raises:
            ExportError: the split is empty.
        """
        if not self.has_samples(split):
            raise ExportError(f"{self.run.name}: the {split} split is empty: nothing to measure with")
        pending = self.worker.submit_scores(
            model, self.samples(split), contract, self.library, what=f"the {split} split", trusted=True
        )
        return partial(self._wait, pending, split)

    def _wait(self, pending: PendingScores, split: str) -> Predictions:
        try:
            found = pending.result()
        except RunError as error:
            raise ExportError(str(error)) from error
        targets = self.run.targets[self.run.splits[split]]
        task = self.run.contract.task
        return Predictions(
            found.scores, targets, task, found.uncalibrated, found.output_step, interpreter=found.interpreter
        )

    def submit_corrupted(self, model: Path, places: Places, seed: int) -> Callable[[], Robustness]:
        """Submit the scoring of some test images under every corruption.

        Args:
            model: a model file.
            places: their places in the test split.
            seed: of what is drawn at random.

        Returns:
            A function that waits for the figures. It raises an ExportError if the model cannot be scored.
        """
        chosen = self.run.splits["test"][places]
        name = f"corrupted {seed} {len(places)}"
        if name not in self._folders:
            self._folders[name] = self.worker.add_samples(self.run.source.select(chosen))
        pending = self.worker.submit_corrupted(model, self._folders[name], self.library, seed=seed, trusted=True)

        def wait() -> Robustness:
            try:
                scores = pending.result().scores
            except RunError as error:
                raise ExportError(str(error)) from error
            targets, total = self.run.targets[chosen], len(self.run.splits["test"])
            decision = read_model(model).contract.confidence.decision
            contract = self.run.contract
            return measure_robustness(scores, targets, contract, total=total, seed=seed, decision=decision)

        return wait

    def call(self, function: str, model: Path, split: str, *arguments: Any) -> Any:
        """What another function of the worker gives for a model and a split.

        Args:
            function: as `"package.module:function"`; it gets the model's path, the interpreter's library, the folder of
                the samples, and `arguments`.
            model: a model file.

        Raises:
            ExportError: the model cannot be run.
        """
        try:
            return self.worker.submit(
                function, str(model.resolve()), self.library, str(self.samples(split)), *arguments
            ).result()
        except ChildError as error:
            raise ExportError(f"{shown(model.name)}: {error}") from error

    def time_calls(self, model: Path, split: str = "test") -> dict[str, float]:
        """Median and 95th percentile of one call in ms, decoding included, alone on this machine.

        Raises:
            ExportError: the model cannot be run.
        """
        try:
            return self.worker.time_calls(model, self.samples(split), self.library, trusted=True)
        except RunError as error:
            raise ExportError(str(error)) from error

    def score_vectors(self, model: Path, vectors: Vector) -> Scores:
        """Scores of vectors of features that are in no split, float32 (n, labels), without a temperature.

        Args:
            vectors: shape (n, features).

        Raises:
            ExportError: the model cannot be run.
        """
        samples = self.worker.add_samples(VectorSource(vectors))
        try:
            return (
                self.worker.submit_scores(model, samples, library=self.library, what="", trusted=True)
                .result()
                .uncalibrated
            )
        except RunError as error:
            raise ExportError(str(error)) from error
