"""The command `train`: what a run folder holds, and when none is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from runtime import Contract
from tests.support.commands import call_pocketlens, succeed
from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.errors import TrainingError
from trainer.evaluation.metrics import compute_metrics
from trainer.presets import default_epochs
from trainer.training import train

QUICK = ("train", "--dataset", "digits", "--arch", "dense", "--units", "16", "--epochs", "2")


def test_a_run_folder_is_whole(digits_run: Path) -> None:
    names = {path.name for path in digits_run.iterdir()}
    wanted = "model.keras contract.json splits.json images.npy history.csv metrics.json curves.png confusion.png"
    assert names == set(wanted.split())
    assert [path.name for path in digits_run.parent.iterdir() if "partial" in path.name] == []

    contract = Contract.from_json((digits_run / "contract.json").read_text())
    assert contract.input.shape == (8, 8, 1)
    assert contract.labels == tuple(str(n) for n in range(10))
    assert contract.provenance.dataset == "digits"
    assert {"tensorflow", "keras", "pocketlens"} <= set(contract.provenance.packages)

    splits = json.loads((digits_run / "splits.json").read_text())
    sizes = {name: len(splits[name]) for name in ("train", "validation", "test")}
    assert sum(sizes.values()) == 1797 == len(set(splits["train"] + splits["validation"] + splits["test"]))
    assert np.load(digits_run / "images.npy").shape == (1797, 8, 8)

    with (digits_run / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    metrics = json.loads((digits_run / "metrics.json").read_text())
    assert (metrics["warnings"], metrics["notes"]) == ([], [])
    highest = max(float(row["val_accuracy"]) for row in history)
    kept = next(row for row in history if int(row["epoch"]) == metrics["best_epoch"])
    as_accurate = [row for row in history if float(row["val_accuracy"]) >= float(kept["val_accuracy"])]
    assert float(kept["val_accuracy"]) >= highest - 0.015, "one standard error of 143 images"
    assert float(kept["val_loss"]) == min(float(row["val_loss"]) for row in as_accurate)

    test = metrics["test"]
    confusion = np.array(test["confusion"])
    assert confusion.sum() == sizes["test"]
    assert test["accuracy"] == pytest.approx(confusion.trace() / confusion.sum())
    assert test["accuracy"] >= 0.97
    assert set(test["per_class"]) == set(contract.labels)
    for row, label in zip(confusion, contract.labels, strict=True):
        assert test["per_class"][label]["support"] == row.sum()
        assert test["per_class"][label]["recall"] == pytest.approx(row[int(label)] / row.sum())
    for name in ("curves.png", "confusion.png"):
        with Image.open(digits_run / name) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(10**6)) > 10


def test_the_kept_model_is_the_measured_one(digits_run: Path) -> None:
    data = load_dataset("digits", Geometry())
    contract = Contract.from_json((digits_run / "contract.json").read_text())
    test = json.loads((digits_run / "splits.json").read_text())["test"]
    mean, std = np.array(contract.input.mean, np.float32), np.array(contract.input.std, np.float32)
    pixels = (data.pixels[test] - mean) / std
    scores = keras.saving.load_model(digits_run / "model.keras").predict(pixels, verbose=0)
    metrics = json.loads((digits_run / "metrics.json").read_text())
    assert compute_metrics(scores, data.targets[test], contract.labels).accuracy == metrics["test"]["accuracy"]


def test_an_existing_run_needs_force(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = succeed(call_pocketlens(*QUICK, "--out", out, "--json"))
    printed = json.loads(result.stdout)
    assert printed["run"] == str(out)
    assert 0 < printed["test_accuracy"] <= 1
    assert "epoch" in printed["learning_curves"]
    before = (out / "metrics.json").read_bytes()
    result = call_pocketlens(*QUICK, "--out", out, "--seed", 9)
    assert result.returncode == 1
    assert "--force" in result.stderr
    assert (out / "metrics.json").read_bytes() == before
    told = succeed(call_pocketlens(*QUICK, "--out", out, "--seed", 9, "--force")).stdout
    assert told.startswith("learning curves: ")
    assert (out / "metrics.json").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_is_no_run_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = call_pocketlens(*QUICK, "--out", tmp_path, "--force")
    assert result.returncode == 1
    assert "is not a run" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    result = call_pocketlens(*QUICK, "--out", tmp_path / "thesis.txt", "--force")
    assert result.returncode == 1
    assert "not a folder" in result.stderr


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (("--learning-rate", "0"), 2, "learning rate"),
        (("--learning-rate", "nan"), 2, "learning rate"),
        (("--image-size", "500"), 1, "--image-size"),
        (("--dataset", "no-such-folder"), 1, "no such folder"),
    ],
)
def test_a_setting_that_cannot_be_leaves_nothing_behind(
    options: tuple[str, ...], status: int, reason: str, tmp_path: Path
) -> None:
    result = call_pocketlens("train", "--dataset", "digits", "--epochs", "2", *options, "--out", tmp_path / "run")
    assert result.returncode == status
    assert reason in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].lower().startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_training_that_diverges_is_an_error() -> None:
    data = load_dataset("digits", Geometry())
    settings: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 10, "activation": "elu"}
    config = TrainingConfig("dense", units=(512, 512, 512), epochs=5, **settings)
    with pytest.raises(TrainingError, match="diverged"):
        train(data, config)


def test_a_training_that_learns_nothing_is_told(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = succeed(call_pocketlens(*QUICK, "--units", "8,8", "--learning-rate", 10, "--out", out, "--json"))
    (told,) = json.loads(result.stdout)["warnings"]
    assert told.startswith("the network has learnt nothing that shows: its accuracy on the validation split is 0.")
    assert f"warning: {told}" not in result.stdout
    assert json.loads((out / "metrics.json").read_text())["warnings"] == [told]
    models = tmp_path / "models"
    words = ("--mode", "float32", "--accept-low-accuracy")
    assert f"warning: training: {told}" in succeed(call_pocketlens("export", out, "--out", models, *words)).stderr
    assert f"training: {told}" in json.loads((models / "report.json").read_text())["warnings"]


def test_the_same_seed_gives_the_same_model() -> None:
    data = load_dataset("digits", Geometry())
    first, again, other = (train(data, TrainingConfig(epochs=1, seed=seed)) for seed in (3, 3, 4))
    for one, two in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert first.contract == again.contract
    different = (a != b for a, b in zip(first.model.get_weights(), other.model.get_weights(), strict=True))
    assert any(np.any(d) for d in different)


def test_the_date_is_of_the_source_or_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset("digits", Geometry())
    config = TrainingConfig("dense", units=(4,), epochs=1)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert train(data, config).contract.provenance.date == "1998-07-01"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert train(data, config).contract.provenance.date == "1970-01-02"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(TrainingError, match="SOURCE_DATE_EPOCH"):
        train(data, config)


def test_small_data_sets_get_more_epochs() -> None:
    assert [default_epochs(n, "cnn") for n in (10, 1797, 10_000, 70_000, 10**7)] == [40, 40, 29, 12, 12]
    assert [default_epochs(n, "dense") for n in (10, 10_000, 70_000)] == [40, 40, 20]
