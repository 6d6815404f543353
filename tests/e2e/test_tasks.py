"""The tasks binary and multilabel, each the whole way: trained, exported, gated, and answered as on a device."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from runtime import Classifier, read_model
from runtime.selftest.runner import run_selftest
from runtime.watch.sorter import Sorter
from tests.support.commands import call_pocketlens, run_pocketlens, succeed
from tests.support.datasets import MARKS, draw_marks
from tests.support.exports import Trip
from tests.support.watching import watched
from trainer.data.run_folder import RunFolder, read_run
from trainer.errors import RunError

pytestmark = pytest.mark.workstation


def scores_of(path: Path, run: RunFolder) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What a file answers to the test split, and the truth."""
    classifier = Classifier(path)
    test = run.splits["test"]
    return np.stack([classifier.scores(run.source.sample(int(i))) for i in test]), run.targets[test]


def report_of(trip: Trip) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((trip.folder / "report.json").read_text())
    return report


def test_binary_is_measured_by_accuracy_and_roc_auc(binary_trip: Trip) -> None:
    metrics = json.loads((binary_trip.run / "metrics.json").read_text())["test"]
    assert metrics["task"] == "binary"
    assert list(metrics["per_class"]) == ["not 8", "8"]
    assert metrics["roc_auc"] >= 0.95
    assert "test accuracy 0.9" in binary_trip.trained
    assert f"ROC AUC {metrics['roc_auc']:.4f}" in binary_trip.trained
    for name in ("confusion.png", "roc.png", "curves.png"):
        with Image.open(binary_trip.run / name) as picture:
            assert min(picture.size) > 300
    with (binary_trip.run / "history.csv").open() as file:
        assert "val_roc_auc" in next(csv.reader(file))


def test_binary_files_are_gated_by_what_a_device_answers(binary_trip: Trip) -> None:
    report, run = report_of(binary_trip), read_run(binary_trip.run)
    assert (report["task"], report["metric"], report["labels"]) == ("binary", "accuracy", ["not 8", "8"])
    assert [gate["name"] for gate in report["models"][1]["gates"]] == ["drop", "roc-auc-drop"]
    before: dict[str, float] = {}
    for model in report["models"]:
        scores, targets = scores_of(binary_trip.folder / model["file"], run)
        found = {metric["name"]: metric for metric in model["metrics"]}
        expected = {
            "accuracy": float((scores.argmax(axis=1) == targets).mean()),
            "roc_auc": float(roc_auc_score(targets, scores[:, 1])),
        }
        before = before or expected
        for name, value in expected.items():
            assert found[name]["value"] == pytest.approx(value), name
            assert found[name]["drop"] == pytest.approx(before[name] - value), name
            assert found[name]["interval"][0] <= value <= found[name]["interval"][1]
        assert model["confusion"] == [
            [int(((targets == t) & (scores.argmax(axis=1) == a)).sum()) for a in (0, 1)] for t in (0, 1)
        ]
        contract = read_model(binary_trip.folder / model["file"]).contract
        assert (contract.task, contract.outputs, contract.labels) == ("binary", 1, ("not 8", "8"))
        assert contract.confidence.temperature == model["temperature"] != 1
        assert model["calibration_error"] < model["calibration_error_untempered"] + 0.01
    assert "ROC AUC" in binary_trip.exported
    assert "ROC AUC" in (binary_trip.folder / "report.html").read_text()
    assert "probability of the second" in (binary_trip.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("trip", ["binary_trip", "multilabel_trip"])
def test_files_check_themselves(trip: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(trip).folder
    for name in ("float32.tflite", "int8.tflite"):
        outcome = run_selftest(folder / name)
        assert outcome.passed
        assert outcome.images >= 2


def test_binary_on_the_command_line(binary_trip: Trip, tmp_path: Path) -> None:
    run = read_run(binary_trip.run)
    test = run.splits["test"]
    chosen = [int(test[run.targets[test] == target][0]) for target in (1, 0)]
    files = [tmp_path / "eight.png", tmp_path / "other.png"]
    for file, index in zip(files, chosen, strict=True):
        Image.fromarray(np.asarray(run.source.sample(index))).save(file)
    model = binary_trip.folder / "int8.tflite"
    classifier = Classifier(model)
    printed = succeed(run_pocketlens("classify", "--model", model, "--json", *files)).stdout
    for line, file in zip(printed.splitlines(), files, strict=True):
        predictions = json.loads(line)["predictions"]
        assert predictions == [p.as_dict() for p in classifier.classify(file)]
        assert sorted(p["label"] for p in predictions) == ["8", "not 8"]
        assert sum(p["score"] for p in predictions) == pytest.approx(1, abs=1e-5)
        assert predictions[0]["score"] >= 0.5
    # A sigmoid of 8 bits answers with 255/256 at most.
    assert classifier.classify(files[0], min_score=1.0)[0].label == "unknown"


def test_multilabel_is_measured_by_mean_average_precision_and_f1(multilabel_trip: Trip) -> None:
    metrics = json.loads((multilabel_trip.run / "metrics.json").read_text())["test"]
    assert metrics["task"] == "multilabel"
    assert set(metrics["per_class"]["dot"]) == {"precision", "recall", "f1", "support", "average_precision"}
    assert metrics["mean_average_precision"] >= 0.9
    assert f"mean average precision {metrics['mean_average_precision']:.4f}" in multilabel_trip.trained
    names = {path.name for path in multilabel_trip.run.iterdir()}
    assert {"labels.png", "curves.png"} <= names
    assert "confusion.png" not in names
    with (multilabel_trip.run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(float(row["val_mean_average_precision"]) for row in rows)
    kept = json.loads((multilabel_trip.run / "metrics.json").read_text())["best_epoch"]
    assert float(rows[kept - 1]["val_mean_average_precision"]) == best


def test_multilabel_targets_are_in_the_run_folder(multilabel_trip: Trip, marks_csv: Path) -> None:
    run = read_run(multilabel_trip.run)
    assert run.targets.shape == (300, 3)
    rows = [line.split(",") for line in marks_csv.read_text().splitlines()[1:]]
    for target, (_, labels) in zip(run.targets, rows, strict=True):
        assert [label for label, there in zip(MARKS, target, strict=True) if there] == [
            *filter(None, labels.split(";"))
        ]


@pytest.mark.parametrize("row", [[3], [-1], ["bar"], 1, None, [[0]]])
def test_targets_that_are_none_are_refused(row: object, multilabel_trip: Trip, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(multilabel_trip.run, folder)
    document = json.loads((folder / "splits.json").read_text())
    document["targets"][7] = row
    (folder / "splits.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match="not as the trainer writes them"):
        read_run(folder)


def test_multilabel_files_are_gated_by_what_a_device_answers(multilabel_trip: Trip) -> None:
    report, run = report_of(multilabel_trip), read_run(multilabel_trip.run)
    assert (report["task"], report["metric"]) == ("multilabel", "mean_average_precision")
    reference, int8 = report["models"]
    assert [gate["name"] for gate in int8["gates"]] == ["drop", "f1-drop"]
    answers = []
    for model in (reference, int8):
        scores, targets = scores_of(multilabel_trip.folder / model["file"], run)
        answers.append(scores >= 0.5)
        found = {metric["name"]: metric["value"] for metric in model["metrics"]}
        assert found["mean_average_precision"] == pytest.approx(average_precision_score(targets, scores))
        assert found["micro_f1"] == pytest.approx(f1_score(targets, answers[-1], average="micro"))
        assert model["accuracy"] == pytest.approx((answers[-1] == targets).all(axis=1).mean())
        assert np.array(model["confusion"]).shape == (3, 2, 2)
        confidence = read_model(multilabel_trip.folder / model["file"]).contract.confidence
        assert confidence.threshold == model["threshold"] == 0.5
        assert confidence.temperature == model["temperature"] != 1
        rejected = model["rejection"]
        assert rejected["answered"] == pytest.approx(answers[-1].any(axis=1).mean())
        assert rejected["false_accept_rate"] == pytest.approx(answers[-1][targets == 0].mean())
    assert int8["agreement"] == pytest.approx((answers[0] == answers[1]).all(axis=1).mean())
    assert int8["drop"] == int8["metrics"][0]["drop"]
    assert "mean average precision" in multilabel_trip.exported
    html = (multilabel_trip.folder / "report.html").read_text()
    assert "absent labels given" in html
    assert "any number of 3 labels: bar, dot, line" in (multilabel_trip.folder / "MODEL_CARD.md").read_text()


def test_multilabel_on_the_command_line(multilabel_trip: Trip, tmp_path: Path) -> None:
    wanted = {"all.png": list(MARKS), "one.png": ["line"], "none.png": []}
    for number, (name, labels) in enumerate(wanted.items()):
        draw_marks(labels, 1000 + number).save(tmp_path / name)
    model = multilabel_trip.folder / "int8.tflite"
    files = [tmp_path / name for name in wanted]
    printed = succeed(run_pocketlens("classify", "--model", model, "--json", *files)).stdout
    found = [json.loads(line)["predictions"] for line in printed.splitlines()]
    assert [sorted(p["label"] for p in predictions) for predictions in found] == [
        ["bar", "dot", "line"],
        ["line"],
        ["unknown"],
    ]
    assert found[2][0]["index"] == -1
    printed = succeed(run_pocketlens("classify", "--model", model, "--csv", "--min-score", "0", *files[1:])).stdout
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [row["label"] for row in rows[:1]] == ["line"]
    assert len(rows) == 6
    assert {row["error"] for row in rows} == {""}


def test_a_watched_folder_is_sorted_by_the_surest_label(multilabel_trip: Trip, tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    draw_marks(["bar", "line"], 2000).save(folder / "two.png")
    draw_marks([], 2001).save(folder / "none.png")
    classifier = Classifier(multilabel_trip.folder / "int8.tflite")

    sorter = Sorter(str(tmp_path / "sorted/{label}"), classifier.contract.labels)
    deliveries = watched(folder, *[lambda: None] * 2, classify=classifier.classify, sorter=sorter)
    lines = [delivery.as_dict() for delivery in deliveries]
    moved = {Path(line["path"]).name: line for line in lines}
    two = moved["two.png"]["predictions"]
    assert {p["label"] for p in two} == {"bar", "line"}
    assert (tmp_path / "sorted" / two[0]["label"] / "two.png").is_file()
    assert (tmp_path / "sorted/unknown/none.png").is_file()


def test_a_bad_csv_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,labels\na.png,cat\nb.png\n")
    result = call_pocketlens("train", "--dataset", tmp_path / "labels.csv", "--out", tmp_path / "run")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "line 3: 1 columns, expected like the first row's 2" in result.stderr
    assert not (tmp_path / "run").exists()
