"""The command `compare`, and runs that get their pixels raw."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporter.converter import convert
from exporter.keras_loading import load_model
from exporter.recipe import Recipe
from exporter.representative_dataset import span_pixels
from exporter.representative_dataset_checks import fingerprint_images
from runtime import Classifier, Contract, seal
from tests.support.commands import answer, invoke
from trainer.data.run_folder import read_run
from trainer.evaluation.run_comparison import setting_differences, summarize_run
from trainer.plots.history import save_comparison


def test_runs_are_put_beside_each_other(small_run: Path, dense_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "compare.png"
    command = ("compare", small_run, dense_run, "--out", out)
    found = json.loads(answer(*command, "--json"))
    for row, run in zip(found["runs"], (small_run, dense_run), strict=True):
        metrics = json.loads((run / "metrics.json").read_text())
        assert row["accuracy"] == metrics["test"]["accuracy"]
        assert row["best_epoch"] == metrics["best_epoch"]
        assert row["parameters"] == metrics["parameters"]
        assert row["epochs"] == len(read_run(run).history)
        assert row["seconds"] > 0
    differ = found["differences"]
    assert differ["architecture"] == ["cnn", "dense"]
    assert differ["seed"] == [0, 4]
    assert differ["normalise"] == [True, False]
    assert differ["units"] == [[128], [16, 8]]
    assert "dataset" not in differ
    assert "activation" not in differ
    with Image.open(out) as picture:
        assert min(picture.size) > 300

    text = answer(*command)
    assert str(small_run) in text
    assert "normalise" in text
    assert "weight decay" not in text


def test_a_run_of_before_a_setting_was_there_has_its_default(small_run: Path) -> None:
    new, old = read_run(small_run), read_run(small_run)
    del old.metrics["settings"]["normalise"]
    assert setting_differences([new, old]) == {}
    old.metrics["settings"]["normalise"] = False
    assert setting_differences([new, old]) == {"normalise": [True, False]}
    assert summarize_run(new) == summarize_run(old)


def test_validation_is_told_by_what_the_epoch_was_chosen_by(small_run: Path, marks_run: Path) -> None:
    several, single = read_run(marks_run), read_run(small_run)
    found = summarize_run(several)
    assert found["validation_mean_average_precision"] == several.history[0]["val_mean_average_precision"]
    assert "validation_accuracy" not in found, "Keras's is of each yes and no, and beside accuracy it would mislead"
    best = single.history[int(single.metrics["best_epoch"]) - 1]
    assert summarize_run(single)["validation_accuracy"] == best["val_accuracy"]
    assert "validation_balanced_accuracy" not in summarize_run(single)
    for row in single.history:  # as --balance has it
        row["val_balanced_accuracy"] = row["val_accuracy"] / 2
    assert summarize_run(single)["validation_balanced_accuracy"] == best["val_accuracy"] / 2

    heads = re.split("  +", answer("compare", marks_run, small_run).splitlines()[0])
    assert heads[:1] + heads[2:6] == ["run", "mAP", "micro F1", "validation mAP", "best epoch"]
    assert heads[-1] == "validation accuracy"


def test_one_run_is_not_compared_and_a_folder_that_is_none_is_named(small_run: Path, tmp_path: Path) -> None:
    result = invoke("compare", small_run)
    assert result.exit_code == 2
    assert "two or more" in result.stderr
    result = invoke("compare", small_run, tmp_path, "--out", tmp_path / "out.png")
    assert result.exit_code == 1
    assert "no run folder" in result.stderr
    assert not (tmp_path / "out.png").exists()


def test_many_runs_of_any_name_are_drawn(tmp_path: Path) -> None:
    names = [r"$\frac{", "x" * 300, *(f"run {n}" for n in range(10))]
    rng = np.random.default_rng(0)
    histories = [
        [
            dict(zip(("epoch", "loss", "accuracy", "val_loss", "val_accuracy"), [e, *rng.random(4)], strict=True))
            for e in range(1, 1 + length)
        ]
        for length in range(1, 1 + len(names))
    ]
    save_comparison(tmp_path / "many.png", names, histories)
    with Image.open(tmp_path / "many.png") as picture:
        assert max(picture.size) < 3000


def test_raw_pixels_reach_the_network_and_the_device(dense_run: Path) -> None:
    contract = Contract.from_json((dense_run / "contract.json").read_text())
    assert (contract.input.mean, contract.input.std) == ((0.0,), (1.0,))
    splits = json.loads((dense_run / "splits.json").read_text())
    images = np.load(dense_run / "images.npy")
    metrics = json.loads((dense_run / "metrics.json").read_text())
    run = read_run(dense_run)
    model = load_model(run.model_path, run.contract)
    pixels = span_pixels(fingerprint_images(run.source, run.splits["train"][:100], run.contract.image_input)[1])
    for recipe in (Recipe.float32(), Recipe.int8()):
        classifier = Classifier(seal(convert(model, recipe, run.contract, pixels), run.contract))
        right = sum(
            classifier.classify(images[index], top=1)[0].label == contract.labels[splits["targets"][index]]
            for index in splits["test"]
        )
        assert right / len(splits["test"]) == pytest.approx(metrics["test"]["accuracy"], abs=0.02)
    assert classifier.preprocessor.feeds_raw_pixels
