"""`export --threshold`: chosen on the validation split, and obeyed by the file on a device."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime import Classifier, read_model
from tests.support.commands import answer, call_pocketlens, invoke, succeed
from tests.support.exports import Trip
from trainer.data.run_folder import read_run


def test_a_binary_file_answers_from_its_threshold_on(binary_trip: Trip, tmp_path: Path) -> None:
    run = read_run(binary_trip.run)
    out = tmp_path / "models"
    exported = call_pocketlens(
        "export", binary_trip.run, "--out", out, "--threshold", "recall=0.99", "--max-drop", "0.5"
    )
    assert exported.returncode in (0, 3), exported.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["threshold"] == "recall=0.99"
    assert "--threshold recall=0.99" in report["command"]
    assert "Thresholds" in (out / "report.html").read_text()
    model = report["models"][-1]
    path = out / model["file"]
    decision = model["decision"]
    assert read_model(path).contract.confidence.decision == decision != 0.5
    assert any(f"a label is predicted from {decision:g}: recall" in note for note in model["notes"])
    classifier = Classifier(path)
    positive = run.contract.labels[1]
    confusion = np.zeros((2, 2), int)
    for index in run.splits["test"]:
        sample = run.source.sample(int(index))
        scores = classifier.scores(sample)
        first, second = classifier.classify(sample)
        assert (first.label == positive) == (float(scores[1]) >= decision)
        assert first.score == pytest.approx(scores[first.index])
        assert second.label != first.label
        assert classifier.classify(sample, top=1) == [first]
        confusion[run.targets[index], first.index] += 1
    assert model["confusion"] == confusion.tolist()
    validation = run.splits["validation"]
    positives = [int(index) for index in validation if run.targets[index] == 1]
    found = [classifier.classify(run.source.sample(index))[0].label == positive for index in positives]
    assert np.mean(found) >= 0.99
    assert f"8 is predicted from {decision:g} on" in answer("info", path)
    evaluated = json.loads(answer("evaluate", path, "--dataset", "digits", "--json", "--out", tmp_path / "look"))
    assert evaluated["confusion"] == confusion.tolist()
    one = json.loads(answer("evaluate", path, "--dataset", "digits", "--index", "test:0", "--json"))
    assert one["answer"] == classifier.classify(run.source.sample(one["index"]))[0].label


def test_a_threshold_of_several_labels_is_that_of_each_answer(multilabel_trip: Trip, tmp_path: Path) -> None:
    out = tmp_path / "models"
    exported = call_pocketlens("export", multilabel_trip.run, "--out", out, "--threshold", "0.3", "--max-drop", "0.5")
    assert exported.returncode in (0, 3), exported.stderr
    model = json.loads((out / "report.json").read_text())["models"][-1]
    path = out / model["file"]
    confidence = read_model(path).contract.confidence
    assert (confidence.threshold, confidence.decision) == (0.3, 0.3)
    run, classifier = read_run(multilabel_trip.run), Classifier(path)
    for index in run.splits["test"][:20]:
        sample = run.source.sample(int(index))
        scores = classifier.scores(sample)
        expected = {label for label, score in zip(run.contract.labels, scores, strict=True) if score >= 0.3}
        assert {found.label for found in classifier.classify(sample)} == (expected or {"unknown"})


def test_a_threshold_without_a_use_is_refused(digits_run: Path, binary_trip: Trip, tmp_path: Path) -> None:
    for run, options, status, reason in (
        (digits_run, ("--threshold", "F1"), 1, "--threshold is for models that say yes or no"),
        (binary_trip.run, ("--threshold", "F1", "--false-accept-rate", 0.1), 1, "--threshold and --false-accept-rate"),
        (binary_trip.run, ("--threshold", "best"), 2, "expected F1, recall=0.95"),
    ):
        result = invoke("export", run, "--out", tmp_path / "out", *options)
        assert result.exit_code == status
        assert reason in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()
    succeed(call_pocketlens("info", binary_trip.folder / "int8.tflite"))
