"""`train --scaling inside`: the scaling is the first layer of the model, which takes pixels of 0 to 255."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

import trainer
from runtime import Classifier, Contract, ImageInput
from tests.support.commands import answer
from trainer import TrainingConfig, load_dataset, read_run
from trainer.data import Dataset
from trainer.errors import TrainingError
from trainer.models.factory import with_scaling_layer

QUICK = TrainingConfig("dense", units=(16,), epochs=2, scaling="inside")
SPEC = ImageInput(8, 8, "grey", mean=(78.0,), std=(95.82,))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def train_folder(folder: Path, *options: object) -> Path:
    answer("train", "--dataset", "digits", "--scaling", "inside", "--epochs", 3, *options, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def cnn_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_folder(tmp_path_factory.mktemp("inside") / "run", "--size", "tiny")


def test_plain_keras_gets_the_accuracy_of_the_run_on_raw_pixels(cnn_run: Path, digits: Dataset) -> None:
    model, test = keras.saving.load_model(cnn_run / "model.keras"), read_run(cnn_run).splits["test"]
    scores = model.predict(digits.pixels[test], verbose=0)
    accuracy = (scores.argmax(axis=1) == digits.targets[test]).mean()
    metrics = json.loads((cnn_run / "metrics.json").read_text())
    assert accuracy == pytest.approx(metrics["test"]["accuracy"])
    assert accuracy > 0.8
    assert metrics["settings"]["scaling"] == "inside"
    spec = Contract.from_json((cnn_run / "contract.json").read_text()).input
    assert (spec.mean, spec.std) == ((0,), (1,))
    assert trainer.load(cnn_run).predict(digits.pixels[test]) == pytest.approx(scores, abs=1e-5)


def test_inspect_and_evaluate_show_the_layer_and_the_same_accuracy(cnn_run: Path) -> None:
    rows = [line.split()[:2] for line in answer("inspect", cnn_run).splitlines()]
    assert (rows[2], rows[3][1]) == (["scaling", "Normalization"], "Conv2D")
    found = json.loads(answer("evaluate", cnn_run, "--json"))
    assert found["accuracy"] == pytest.approx(read_run(cnn_run).metrics["test"]["accuracy"])


def test_exported_files_take_raw_pixels_and_keep_the_accuracy(cnn_run: Path, digits: Dataset, tmp_path: Path) -> None:
    modes = [option for mode in ("float32", "float16", "int8", "int16x8") for option in ("--mode", mode)]
    answer("export", cnn_run, "--out", tmp_path, *modes, "--max-drop", "0.02")
    test = read_run(cnn_run).splits["test"]
    wanted = keras.saving.load_model(cnn_run / "model.keras").predict(digits.pixels[test], verbose=0)
    for mode in ("float32", "float16", "int8", "int16x8"):
        with Classifier(tmp_path / f"{mode}.tflite") as classifier:
            scores = np.stack([classifier.scores(image) for image in digits.pixels[test]])
            assert (classifier.contract.input.mean, classifier.contract.input.std) == ((0,), (1,))
            assert classifier.preprocessor.feeds_raw_pixels == (mode == "int8")
        assert (scores.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.97
    report = json.loads((tmp_path / "report.json").read_text())
    assert not [line for line in report["warnings"] if "other pictures" in line or "scal" in line]


def test_the_weights_are_those_of_the_usual_scaling(digits: Dataset) -> None:
    """The layer comes after the training, so that augmentation, checkpoints and fine-tuning are the usual ones."""
    inside, usual = (trainer.train(digits, replace(QUICK, scaling=name)) for name in ("inside", "standardise"))
    for ours, theirs in zip(inside.model.get_weights(), usual.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert inside.history[-1]["val_loss"] == usual.history[-1]["val_loss"]
    assert inside.metrics.accuracy == usual.metrics.accuracy
    assert usual.contract.input.mean != inside.contract.input.mean == (0,)


@pytest.mark.parametrize(
    "settings",
    [
        {"mixed_precision": "on"},
        {"quantization_aware": True, "quantization_aware_epochs": 1, "epochs": 1},
        pytest.param(
            {"architecture": "mobilenet_v2", "weights": "none", "alpha": 0.35, "epochs": 1, "steps_per_epoch": 2},
            marks=pytest.mark.slow,
            id="backbone",
        ),
    ],
    ids=["mixed precision", "quantization-aware", None],
)
def test_other_kinds_of_training(settings: dict[str, Any], digits: Dataset) -> None:
    data = digits
    if settings.get("architecture"):
        pixels = np.asarray(digits.pixels[:]).repeat(4, axis=1).repeat(4, axis=2)
        data = replace(digits, pixels=pixels, input=ImageInput(32, 32, "grey"))
    found = trainer.train(data, replace(QUICK, **settings))
    test = found.splits.test
    scores = found.model.predict(np.asarray(data.pixels[test], np.float32), verbose=0)
    assert (scores.argmax(axis=1) == data.targets[test]).mean() == pytest.approx(found.metrics.accuracy)
    assert "float32" == found.model.get_layer("scaling").compute_dtype == found.model.layers[-1].compute_dtype


def test_a_finished_checkpoint_gives_the_same_model(digits: Dataset, tmp_path: Path) -> None:
    first, again = (
        trainer.train(digits, QUICK, checkpoint_file=tmp_path / "checkpoint", resume=resume) for resume in (False, True)
    )
    pixels = np.asarray(digits.pixels[:20])
    np.testing.assert_array_equal(first.model.predict(pixels, verbose=0), again.model.predict(pixels, verbose=0))


def own_networks() -> list[Any]:
    inputs = keras.Input((8, 8, 1), name="picture")
    flat = keras.layers.Flatten(name="scaling")(inputs)
    both = keras.layers.Concatenate()([flat, keras.layers.Flatten()(keras.ops.square(inputs))])
    branches = keras.Model(inputs, keras.layers.Dense(3)(both), name="branches")
    sequential = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(3)])
    sequential(np.zeros((1, 8, 8, 1), np.float32))
    inner = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    nested = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Dense(3)])
    return [branches, sequential, nested]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["two branches and a name twice", "no input layer", "nested"])
def test_networks_of_any_shape_get_the_layer(which: int, tmp_path: Path) -> None:
    pixels: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    model = own_networks()[which]
    wanted = model.predict((pixels - np.float32(78)) / np.float32(95.82), verbose=0)
    with_scaling_layer(model, SPEC).save(tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras")
    assert found.predict(pixels, verbose=0) == pytest.approx(wanted, rel=1e-5, abs=1e-5)


@pytest.mark.slow
def test_a_run_may_give_its_backbone_to_another_training(digits: Dataset, tmp_path: Path) -> None:
    pixels = np.asarray(digits.pixels[:]).repeat(4, axis=1).repeat(4, axis=2)
    data = replace(digits, pixels=pixels, input=ImageInput(32, 32, "grey"))
    settings: dict[str, Any] = {"architecture": "mobilenet_v2", "alpha": 0.35, "epochs": 1, "steps_per_epoch": 1}
    first = trainer.train(data, replace(QUICK, weights="none", **settings))
    first.model.save(tmp_path / "model.keras")
    config = replace(QUICK, weights=str(tmp_path / "model.keras"), head_epochs=1, fine_tune_layers=0, **settings)
    second = trainer.train(data, config)
    for name in ("Conv1", "block_16_project"):
        ours, theirs = (run.model.get_layer(name).get_weights()[0] for run in (first, second))
        np.testing.assert_array_equal(ours, theirs)


def test_no_scaling_and_a_scaling_inside_are_refused() -> None:
    with pytest.raises(TrainingError, match="`scaling=inside` does"):
        TrainingConfig(scaling="inside", normalize=False)
