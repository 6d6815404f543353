"""`trainer.load`: the Keras model of a run never gets wrongly scaled pixels. And the scalings to choose from."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import trainer
from runtime import Contract, InputError
from tests.support.commands import answer
from trainer import load_dataset, read_run
from trainer.errors import DatasetError, RunError


def accuracy_of(run: Path) -> float:
    accuracy: float = json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    return accuracy


@pytest.mark.parametrize("name", ["small_run", "dense_run"])
def test_raw_pixels_get_the_accuracy_of_the_training(name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(name)
    data, test = load_dataset("digits"), read_run(folder).splits["test"]
    model = trainer.load(str(folder))
    scores = model.predict(data.pixels[test])
    assert (scores.shape, scores.dtype) == ((len(test), 10), np.float32)
    assert model.labels == tuple("0123456789")
    assert (scores.argmax(axis=1) == data.targets[test]).mean() == pytest.approx(accuracy_of(folder))


def test_an_image_may_be_a_file_or_a_picture_of_any_size(small_run: Path, tmp_path: Path) -> None:
    pixels = load_dataset("digits").pixels[0][..., 0]
    path = tmp_path / "digit.png"
    Image.fromarray(pixels).save(path)
    model = trainer.load(small_run)
    wanted = model.predict(pixels[np.newaxis])
    for images in (path, str(path), [path], [Image.open(path)], path.read_bytes()):
        np.testing.assert_array_equal(model.predict(images), wanted)
    assert model.predict([Image.open(path).resize((40, 40))]).shape == (1, 10)
    assert model.predict([]).shape == (0, 10)
    with pytest.raises(InputError):
        model.predict(pixels[np.newaxis] / 255)


def test_both_labels_of_a_binary_model_and_features_in_their_units(binary_run: Path, circles_run: Path) -> None:
    assert trainer.load(binary_run).predict(load_dataset("digits").pixels[:3]).sum(axis=1) == pytest.approx([1, 1, 1])
    circles, test = load_dataset("circles"), read_run(circles_run).splits["test"]
    scores = trainer.load(circles_run).predict(circles.pixels[test])
    assert (scores.argmax(axis=1) == circles.targets[test]).mean() == pytest.approx(accuracy_of(circles_run))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        trainer.load(tmp_path)


@pytest.mark.parametrize(("options", "std"), [(("--scaling", "unit"), 255), (("--scaling", "none"), 1)])
def test_a_scaling_by_name(options: tuple[str, ...], std: int, tmp_path: Path) -> None:
    """`--scaling unit` is the lessons' x / 255: plain Keras may then load the model and do the same."""
    quick = ("--dataset", "digits", "--arch", "dense", "--units", "16", "--epochs", "2", "--out", tmp_path / "run")
    answer("train", *quick, *options)
    spec = Contract.from_json((tmp_path / "run/contract.json").read_text()).input
    assert (spec.mean, spec.std) == ((0,), (std,))
    pixels = load_dataset("digits").pixels[:50]
    plain = keras.saving.load_model(tmp_path / "run/model.keras").predict(pixels / std, verbose=0)
    assert trainer.load(tmp_path / "run").predict(pixels) == pytest.approx(plain, abs=1e-6)
    settings = json.loads((tmp_path / "run/metrics.json").read_text())["settings"]
    assert (settings["scaling"], settings["normalise"]) == (options[1], options[1] == "unit")


@pytest.mark.parametrize("scaling", ["unit", "inside"])
def test_scalings_of_pixels_are_not_for_features(scaling: str) -> None:
    config = trainer.TrainingConfig("dense", scaling=scaling, epochs=1)
    with pytest.raises(DatasetError, match=f"`scaling={scaling}` is for pixels, and this input is 2 features"):
        trainer.train(load_dataset("circles"), config)
