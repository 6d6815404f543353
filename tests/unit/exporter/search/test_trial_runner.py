"""Trials in child processes: the cost before training, the score of the int8 file, pauses, and a child that dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import ExportError
from exporter.search.budget import BytesAlone, Cost
from exporter.search.data import SearchData
from exporter.search.halving import StepResult, TrialStep
from exporter.search.space import Space
from exporter.search.trial_runner import INT8_FILE, TrialRunner
from runtime import read_model
from runtime.child_process import ChildError
from runtime.child_worker import ChildWorker
from trainer.data import load_dataset

SPACE = Space(1797, 3, (8,), ("grey",), ("shift",), quantization_aware=False)
VALUE: dict[str, Any] = {
    "architecture": "cnn",
    "width_1": 4,
    "width_2": 6,
    "width_3": 8,
    "blocks": 0,
    "side": 8,
    "colour": "grey",
    "augment_shift": False,
    "learning_rate": 0.008,
    "batch_size": 64,
    "teacher": False,
    "label_smoothing": 0.0,
    "quantization_aware": False,
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialRunner]:
    data = SearchData.load({"name": "digits"}, seed=0)
    with TrialRunner(data, SPACE, tmp_path_factory.mktemp("trials"), BytesAlone(), threads=1) as made:
        yield made


def test_the_untrained_cost_is_that_of_the_trained_file_and_a_killed_child_is_one_line(runner: TrialRunner) -> None:
    cost = runner.cost(VALUE)
    assert runner.cost(VALUE | {"learning_rate": 0.001}) is cost  # the same layers are converted once
    outcome = runner.train(TrialStep(0, 1), VALUE)
    assert outcome is not None
    content = (runner.folder_of(0) / INT8_FILE).read_bytes()
    assert outcome.cost == Cost(len(content))
    assert abs(outcome.cost.file_bytes - cost.file_bytes) < 0.02 * cost.file_bytes
    assert read_model(content).contract.labels == tuple("0123456789")
    assert 0.05 < outcome.accuracy <= 1
    assert 0 < outcome.loss < 3
    assert outcome.result == StepResult(outcome.accuracy, (float(len(content)),), outcome.loss)
    assert outcome.seconds.training > 0
    assert outcome.seconds.conversion > 0
    assert outcome.seconds.scoring > 0

    process = runner._child._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)  # else the call could end before it is killed
    call = runner._child.submit("trainer.trials.trial:check_data", {"name": "digits"}, None)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(Exception, match="its process died of SIGKILL"):
        call.result()
    paused = runner.train(TrialStep(0, 3), VALUE, seconds=0)  # a new process goes on from the checkpoint
    assert paused is None
    again = runner.train(TrialStep(0, 3), VALUE)
    assert again is not None
    assert again.accuracy > outcome.accuracy
    assert again.loss < outcome.loss

    (runner.folder_of(0) / "checkpoint.npz").write_bytes(b"damaged")
    anew = runner.train(TrialStep(0, 1), VALUE)
    assert anew is not None
    assert (anew.accuracy, anew.loss) == (outcome.accuracy, outcome.loss), "the first epoch gives the same weights"


def test_what_the_child_refuses_is_one_line(runner: TrialRunner) -> None:
    with pytest.raises(ExportError, match=r"^learning rate 100, expected a number above 0, at most 10$"):
        runner.train(TrialStep(1, 1), VALUE | {"learning_rate": 100})


@pytest.mark.fast
def test_a_full_disk_is_no_fault_of_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ChildError("the checkpoint cannot be written", 1, is_disk_full=True)

    monkeypatch.setattr(ChildWorker, "submit", fail)
    data = SearchData.load({"name": "digits"}, seed=0)
    with TrialRunner(data, SPACE, tmp_path, BytesAlone()) as made, pytest.raises(OSError, match="No space") as raised:
        made.train(TrialStep(0, 1), VALUE)
    assert raised.value.filename == str(tmp_path)


@pytest.mark.fast
def test_a_teacher_is_tried_before_the_first_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, calls = SearchData.load({"name": "digits"}, seed=0), list[Any]()
    monkeypatch.setattr(TrialRunner, "_call", lambda _, *arguments: calls.append(arguments))
    for teacher in ("runs/large", None):
        space = replace(SPACE, teacher=teacher)
        with TrialRunner(data, space, tmp_path, BytesAlone()) as made:
            made.check()
    (name, _, settings), (_, _, nothing) = calls
    assert (name, settings["teacher"], nothing) == ("trainer.trials.trial:check_data", "runs/large", None)


@pytest.mark.fast
def test_the_test_split_is_in_nothing_that_a_trial_gets() -> None:
    data, whole = SearchData.load({"name": "digits"}, seed=0), load_dataset("digits")
    assert len(data.splits["test"]) == 0
    assert len(data) == len(whole.targets) > len(data.splits["train"]) + len(data.splits["validation"])
    assert data.digest == SearchData.load({"name": "digits"}, seed=0).digest
    assert data.digest != SearchData.load({"name": "digits"}, seed=1).digest
    assert data.digest != SearchData.load({"name": "digits", "merge": ["0,8=round"]}, seed=0).digest
