"""Runs the trials of a search: cost of the untrained network, training to a rung, int8 file, score on validation.

TensorFlow runs in a child process that keeps it loaded, and the int8 files in another one without it, as on a device.
A child that dies, of memory for instance, is a failed trial; the next call starts a new one.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from runtime import Confidence, Contract, seal
from runtime.child_process import ChildError
from runtime.child_worker import ChildWorker
from runtime.files import write_whole
from trainer.data.run_folder import RUN_MARKER
from trainer.evaluation.metrics import HEADLINES, compute_metrics, cross_entropy
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.score_calibration import calibrated_scores, fit_confidence
from trainer.evaluation.scoring import ScoringWorker

from ..errors import ExportError
from ..operator_support import DEFAULT_TARGET, runnable_library
from ..recipe import ExportConfig, Recipe
from ..representative_dataset import prepare_representative_dataset
from ..scoring import SplitScorer
from ..selftest import make_selftest_member
from .budget import Cost, CostModel
from .data import SearchData
from .halving import StepResult, TrialStep
from .plan import SearchPlan
from .space import Space

#: The int8 file in a trial's folder.
INT8_FILE = "int8.tflite"
_TRIALS = "trainer.trials.trial"
#: Settings that decide the layers of a network, and so what it costs.
_LAYERS = ("architecture", "widths", "blocks", "units")
#: Samples for an untrained network: the size of its file does not depend on the ranges that they show.
_FEW_SAMPLES = 8
#: Stands for the one that is fitted to a trained network: its digits take room in the file.
_SOME_CONFIDENCE = Confidence(temperature=1.2345678901234567)
#: Trainings after which the child is replaced: TensorFlow keeps some memory of each graph.
_MOST_TRAININGS = 25
#: What TensorFlow reads the number of its threads from.
_THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")

Self = TypeVar("Self", bound="TrialRunner")


class TrialSeconds(NamedTuple):
    """Where the time of a step went.

    Attributes:
        training: the epochs, and what goes before them: building and compiling the network.
        conversion: to int8, of the untrained and of the trained network.
        scoring: the start of the interpreter, the self-test and the validation split.
    """

    training: float = 0.0
    conversion: float = 0.0
    scoring: float = 0.0


class TrialOutcome(NamedTuple):
    """What a trial reached at a rung.

    Attributes:
        accuracy: of the int8 file on validation, 0 to 1; for the task multilabel the mean average precision.
        loss: cross-entropy of its scores there. They have its temperature, so that label smoothing, which is a choice,
            does not decide.
        cost: of the int8 file.
        seconds: where the time went.
    """

    accuracy: float
    loss: float
    cost: Cost
    seconds: TrialSeconds

    @property
    def result(self) -> StepResult:
        """As the study keeps it."""
        latency = () if self.cost.latency_ms is None else (self.cost.latency_ms,)
        return StepResult(self.accuracy, (float(self.cost.file_bytes), *latency), self.loss)


class _Converted(NamedTuple):
    """A FlatBuffer in a file, its contract, and the further members of its archive."""

    flatbuffer: Path
    contract: Contract
    members: dict[str, bytes]

    def sealed(self, confidence: Confidence) -> bytes:
        """The whole file."""
        contract = replace(self.contract, confidence=confidence)
        return seal(self.flatbuffer.read_bytes(), contract, self.members)


class TrialRunner:
    """Runs trials, one after the other; use it as a context manager.

    Args:
        data: the samples.
        space: gives the settings of a value.
        folder: trials have their folders in it, by their numbers.
        cost_model: gives the cost of a file.
        target: the interpreter of the device, one of `operator_support.TARGETS`.
        threads: of the training; None for one a processor core.
        max_bytes: a network with more weights than this is not converted, which takes seconds; None to convert all.
    """

    def __init__(
        self,
        data: SearchData,
        space: Space,
        folder: Path,
        cost_model: CostModel,
        *,
        target: str = DEFAULT_TARGET,
        threads: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._data, self._space, self._folder, self._cost_model = data, space, folder, cost_model
        self._target, self._library = target, runnable_library(target)[0]
        self._child = ChildWorker(thread_variables(threads))
        self._worker = ScoringWorker()
        self._scorer: SplitScorer | None = None
        self._trainings = 0
        self._stack = ExitStack()
        self._costs: dict[str, Cost] = {}
        self._samples: dict[Any, tuple[Path, Path]] = {}
        self._clock = dict.fromkeys(TrialSeconds._fields, 0.0)

    def __enter__(self: Self) -> Self:
        self._stack.enter_context(self._child)
        self._stack.enter_context(self._worker)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def check(self) -> None:
        """Load the data set in the child, and refuse a teacher that does not suit it.

        Raises:
            ExportError: the data set cannot be loaded there, or another teacher is needed.
        """
        value = self._space.presets()[0] | {"teacher": True, "label_smoothing": 0.0}
        settings = None if self._space.teacher is None else self._space.settings(value)
        self._call(f"{_TRIALS}:check_data", self._description(value), settings)

    def folder_of(self, trial: int) -> Path:
        """The folder of a trial: its model, contract, checkpoint and int8 file."""
        return self._folder / str(trial)

    def cost(self, value: Mapping[str, Any]) -> Cost:
        """What the network of a value costs, from its untrained file. The cost of each network is computed once.

        Of a network with more weights than `max_bytes` it is their number alone: the file would have more bytes.

        Raises:
            ExportError: the network cannot be built or converted, or has an operator that the profile does not know.
        """
        settings = self._space.settings(value)
        layers = {name: settings[name] for name in _LAYERS if name in settings}
        key = json.dumps([layers, self._space.geometry(value)], sort_keys=True)
        if key not in self._costs:
            place = self._child.folder / "untrained"
            with self._timed("conversion"):
                weights = self._call(f"{_TRIALS}:write_untrained", self._description(value), settings, str(place))
            if self._max_bytes is not None and weights > self._max_bytes:
                return Cost(weights)
            content = self._convert(place, is_trained=False).sealed(_SOME_CONFIDENCE)
            self._costs[key] = self._cost_model.cost_of(content)
        return self._costs[key]

    def train(self, step: TrialStep, value: Mapping[str, Any], seconds: float | None = None) -> TrialOutcome | None:
        """Train a trial to its rung, from its checkpoint if there is one, convert it, and score it.

        Args:
            step: the trial, and the epoch of its rung.
            value: of the space.
            seconds: the time for the epochs; None for any.

        Returns:
            None if the time was over before the last epoch began; the checkpoint keeps what was trained.

        Raises:
            ExportError: the training failed, or its process died; or the model cannot be converted or scored.
            OSError: the disk is full.
        """
        self._trainings += 1
        if self._trainings % _MOST_TRAININGS == 0:
            self._child.restart()
        place = self.folder_of(step.trial)
        settings, until = self._space.settings(value), step.epochs
        with self._timed("training"):
            figures = self._call(
                f"{_TRIALS}:train_trial", self._description(value), settings, str(place), until, seconds
            )
        if figures["stopped"] == "interrupted" and figures["epochs"] < until:
            return None
        if figures["stopped"] == "unreadable":
            raise ExportError("a training image cannot be read any more; put it back as it was")
        converted = self._convert(place, is_trained=True)
        with self._timed("scoring"):
            predictions = self._score(converted)
            confidence = fit_confidence(predictions, Recipe.int8().name).confidence
            content = converted.sealed(confidence)
            write_whole(place / INT8_FILE, content)
        scores = calibrated_scores(predictions, confidence.temperature)
        loss = cross_entropy(scores, predictions.targets, predictions.task)
        used = TrialSeconds(**self._clock)
        self._clock = dict.fromkeys(TrialSeconds._fields, 0.0)
        return TrialOutcome(headline_of(predictions, self._data.labels), loss, self._cost_model.cost_of(content), used)

    def _convert(self, place: Path, *, is_trained: bool) -> _Converted:
        """The parts of the int8 file of a trial's folder, as `export` makes them."""
        contract = Contract.from_json((place / RUN_MARKER).read_bytes())
        bare = self._child.folder / INT8_FILE
        with self._timed("conversion"):
            every, few = self._representative(contract)
            self._call(
                "exporter.search.trial_file:convert_trial",
                *(str(place), str(every if is_trained else few), str(bare), self._target),
            )
        with self._timed("scoring"):
            members = make_selftest_member(self._worker, bare, contract, Recipe.int8(), np.load(every))
        return _Converted(bare, contract, members)

    def _representative(self, contract: Contract) -> tuple[Path, Path]:
        """Files with the quantizer's samples for an input: all of them, and a few."""
        if contract.input not in self._samples:
            run = self._data.as_run(self._folder, contract)
            count = ExportConfig.calibration_samples
            samples = prepare_representative_dataset(run, count, contract.provenance.seed).samples
            paths = tuple(
                self._worker.folder / f"calibration-{len(self._samples)}-{part}.npy" for part in ("all", "few")
            )
            np.save(paths[0], samples)
            np.save(paths[1], samples[:_FEW_SAMPLES])
            self._samples[contract.input] = (paths[0], paths[1])
        return self._samples[contract.input]

    def _score(self, converted: _Converted) -> Predictions:
        if self._scorer is None:  # the samples are the same for all trials
            run = self._data.as_run(self._folder, converted.contract)
            self._scorer = SplitScorer(self._worker, run, self._library)
        return self._scorer.submit(converted.flatbuffer, "validation", converted.contract)()

    def _description(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._data.description, **self._space.geometry(value)}

    def _call(self, function: str, *arguments: Any) -> Any:
        try:
            return self._child.submit(function, *arguments).result()
        except ChildError as error:
            if error.is_disk_full:  # of no use to any trial: it ends the search, which goes on when there is room
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder)) from error
            raise ExportError(str(error)) from error

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._clock[part] += time.perf_counter() - started


def make_runner(
    plan: SearchPlan, data: SearchData, folder: Path, cost_model: CostModel, threads: int | None
) -> TrialRunner:
    """The runner for the trials of a plan; the other arguments are those of `TrialRunner`."""
    space, most = plan.make_space(data), plan.budget.max_bytes
    return TrialRunner(data, space, folder, cost_model, target=plan.target, threads=threads, max_bytes=most)


def thread_variables(threads: int | None) -> dict[str, str]:
    """The environment of a training with so many threads; None for one a processor core."""
    return {} if threads is None else dict.fromkeys(_THREAD_VARIABLES, str(threads))


def headline_of(predictions: Predictions, labels: tuple[str, ...]) -> float:
    """The figure by which trials are compared: the accuracy, or for the task multilabel the mean average precision."""
    if predictions.task != "multilabel":
        return float(predictions.correct.mean())
    metrics = compute_metrics(predictions.scores, predictions.targets, labels, predictions.task)
    return metrics.figures.get(HEADLINES[predictions.task][0], 0.0)  # it is undefined where no sample has a label
