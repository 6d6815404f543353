"""A network that 8 bits ruin, and what is done about it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from keras import layers

from exporter.converter import convert
from exporter.export import export
from exporter.keras_loading import load_model
from exporter.model_converter import ModelConverter, converter_child
from exporter.recipe import ExportConfig, Recipe
from exporter.recovery.equalization import equalize
from exporter.recovery.sensitivity import measure_sensitivity
from exporter.representative_dataset import prepare_representative_dataset
from runtime import Classifier, Contract, ImageInput, Preprocessor, seal
from runtime.interpreter import build
from tests.support.commands import call_pocketlens, succeed
from trainer.data.run_folder import read_run

pytestmark = pytest.mark.workstation
#: One channel of an activation is so many times as large as its neighbours.
APART = 1024


#: Without branches, so that its layers can be built anew one after the other.
NETWORK = """
from keras import Input, Model, layers


def build_model(input_shape, classes):
    x = inputs = Input(input_shape)
    for filters in (24, 32, None, 48, 48):
        if filters is None:
            x = layers.MaxPooling2D()(x)
            continue
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return Model(inputs, layers.Dense(classes, activation="softmax")(x))
"""


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "network.py").write_text(NETWORK)
    options = ("--model-file", folder / "network.py", "--learning-rate", "0.004", "--epochs", "25")
    succeed(call_pocketlens("train", "--dataset", "digits", *options, "--out", folder / "run"))
    return folder / "run"


def ruin(run: Path, folder: Path, *, blocked: bool, how_many: int = 1, apart: int = APART) -> Path:
    """The digits run with channels far apart: in float32 the same answers.

    Args:
        blocked: put a layer that does nothing behind each ReLU, one that the equalisation does not look behind.
        how_many: activations to ruin.
    """
    shutil.copytree(run, folder)
    trained = keras.saving.load_model(run / "model.keras")
    x = inputs = keras.Input(trained.input_shape[1:])
    for layer in trained.layers[1:]:
        x = type(layer).from_config(layer.get_config())(x)
        if blocked and isinstance(layer, layers.ReLU):
            x = layers.Reshape(x.shape[1:])(x)
    model = keras.Model(inputs, x)
    model.set_weights(trained.get_weights())
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    readers = [layer for layer in model.layers if isinstance(layer, layers.Conv2D | layers.Dense)][1:]
    for norm, reader in list(zip(norms, readers, strict=True))[:how_many]:
        large = np.ones(norm.gamma.shape[0], np.float32)
        large[np.abs(np.asarray(norm.gamma)).argmin()] = apart
        norm.gamma.assign(norm.gamma * large)
        norm.beta.assign(norm.beta * large)
        reader.kernel.assign(reader.kernel / large[:, np.newaxis])
    model.save(folder / "model.keras")
    return folder


def listen(caplog: pytest.LogCaptureFixture) -> None:
    """Capture what the exporter logs; a command that was called in this process has ended its propagation."""
    caplog.set_level(logging.INFO, "exporter")
    logging.getLogger("exporter").addHandler(caplog.handler)


def test_a_ruined_network_is_repaired(plain_run: Path, tmp_path: Path) -> None:
    run = ruin(plain_run, tmp_path / "run", blocked=False)
    result = succeed(call_pocketlens("export", run, "--out", tmp_path / "out", "--repair"))
    assert "looking for a repair" in result.stderr
    assert "trying equalisation of the channels of" in result.stderr
    assert "ms a call: passes" in result.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    reference, after = report["models"]
    assert after["file"] == "int8.tflite"
    assert abs(after["drop"]) <= 0.01
    assert reference["accuracy"] >= 0.97
    assert "repaired by equalisation" in after["notes"][-1]
    tried = after["repair"]
    assert tried[0]["accuracy"] < 0.6
    assert tried[0]["drop"] > 0.3
    assert tried[1]["accuracy"] > 0.95
    assert [way["way"].partition(" ")[0] for way in tried] == ["as", "equalisation"]
    assert [way["passed"] for way in tried] == [False, True]
    assert "--repair" in report["command"]
    assert "equalisation of the channels" in (tmp_path / "out/report.html").read_text()
    types = {np.dtype(d["dtype"]).name for d in details(tmp_path / "out/int8.tflite")}
    assert "float32" not in types, "the repaired file is not all in integers"


def details(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = build(path.read_bytes()).get_tensor_details()  # type: ignore[attr-defined]
    return found


@pytest.mark.slow
def test_where_nothing_can_be_equalised_the_costliest_stay_float(
    plain_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listen(caplog)
    run = read_run(ruin(plain_run, tmp_path / "run", blocked=True))
    exported = export(run, tmp_path / "out", [Recipe.int8()], ExportConfig(repair=True))
    assert exported.passed, exported.failures
    model = exported.report["models"][1]
    assert "operators in float32" in model["notes"][-1]
    assert abs(model["drop"]) <= 0.01
    assert not any("equalisation" in line for line in caplog.messages)
    interpreter = build((tmp_path / "out/int8.tflite").read_bytes())
    assert interpreter.get_input_details()[0]["dtype"] is np.uint8
    assert interpreter.get_output_details()[0]["dtype"] is np.uint8
    first, *_ = (layer.name for layer in keras.saving.load_model(run.model_path).layers if "conv" in layer.name)
    assert any(name in model["notes"][-1] for name in (first, "re_lu", "batch_normalization"))


@pytest.mark.slow
def test_sixteen_bits_stand_in_where_too_much_is_ruined(plain_run: Path, tmp_path: Path) -> None:
    run = read_run(ruin(plain_run, tmp_path / "run", blocked=True, how_many=4, apart=128))
    exported = export(run, tmp_path / "out", [Recipe.int8()], ExportConfig(repair=True))
    assert exported.passed, exported.failures
    _, model = exported.report["models"]
    assert model["file"] == "int16x8.tflite"
    assert abs(model["drop"]) <= 0.01
    assert not (tmp_path / "out/int8.tflite").exists()
    assert len(model["repair"]) >= 3
    assert model["repair"][0]["drop"] > 0.03  # three times the gate; 0.042 to 0.06 on the processors that were tried


def test_what_passes_is_left_alone(plain_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listen(caplog)
    exported = export(read_run(plain_run), tmp_path, [Recipe.int8()], ExportConfig(repair=True))
    assert exported.passed
    assert exported.report["models"][1]["repair"] == []
    assert not any("repair" in line or "trying" in line for line in caplog.messages)


CONTRACT = Contract(tuple("abcde"), ImageInput(8, 8, "grey"))


def network(last: str = "dense") -> Any:
    """Each kind of pair: batch normalization or not before, a depthwise, a plain or a dense layer after."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(inputs)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU()(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(6, 1, name="mix")(x)
    x = layers.LeakyReLU()(x)
    x = layers.Flatten()(x) if last == "dense" else layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(5, name="last")(x))  # no softmax: it would hide what was lost
    rng = np.random.default_rng(3)
    large = np.exp2(rng.integers(0, 11, 8)).astype(np.float32)
    first, depthwise, norm = (model.get_layer(name) for name in ("first", "depthwise", "norm"))
    first.kernel.assign(first.kernel * large)
    depthwise.kernel.assign(depthwise.kernel / large[:, np.newaxis])
    norm.beta.assign(rng.normal(0, 1, 16))
    norm.moving_variance.assign(rng.uniform(0.001, 1, 16))
    inputs = keras.Input(batch_shape=(1, 8, 8, 1))
    return keras.Model(inputs, model(inputs))


@pytest.mark.parametrize("last", ["dense", "mean"])
def test_equalisation_keeps_the_function_and_saves_the_integers(last: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    images = Preprocessor(CONTRACT.image_input).scale(pixels)

    def answers(model: Any, recipe: Recipe) -> npt.NDArray[Any]:
        classifier = Classifier(seal(convert(model, recipe, CONTRACT, pixels), CONTRACT))
        return np.stack([classifier.scores(image) for image in pixels])

    model = network(last)
    wanted = answers(model, Recipe.float32())
    ruined = np.abs(answers(model, Recipe.int8()) - wanted).mean() / wanted.std()
    assert equalize(model, images) == 3
    assert answers(model, Recipe.float32()) == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    mended = np.abs(answers(model, Recipe.int8()) - wanted).mean() / wanted.std()
    assert mended < ruined / 2
    assert mended < 0.1
    # What is balanced stays as it is.
    assert equalize(model, images) <= 3
    assert answers(model, Recipe.float32()) == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_what_cannot_be_scaled_is_not_touched() -> None:
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="sigmoid")(inputs)  # no ReLU
    x = layers.Conv2D(4, 3, activation="relu")(x)
    y = layers.Conv2D(4, 1, activation=None)(x)  # two readers
    x = layers.Add()([x, y])
    x = layers.ReLU(max_value=6)(x)  # a ceiling
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
    before = [np.array(weight) for weight in model.get_weights()]
    assert equalize(model, np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)) == 0
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_the_costliest_activation_is_the_ruined_one(plain_run: Path, tmp_path: Path) -> None:
    run = read_run(ruin(plain_run, tmp_path / "run", blocked=False))
    pixels = prepare_representative_dataset(run, 40, 0).samples
    model = load_model(run.model_path, run.contract)
    with converter_child() as child:
        calibrated = ModelConverter(model, run.contract, pixels, child).calibrate()
    found = measure_sensitivity(calibrated, pixels, run.contract.input)
    assert found[0].lost > 0.9
    assert found[0].lost > 2 * found[1].lost
    assert len(found[0].nodes) == 2
    assert "re_lu" in found[0].nodes[0]
