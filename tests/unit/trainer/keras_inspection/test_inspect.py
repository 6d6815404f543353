"""The command `inspect`: layers, shapes, parameters, multiply-adds, weights, and the drawing."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from tests.support.commands import answer, invoke
from trainer.data.run_folder import read_run
from trainer.errors import RunError
from trainer.keras_inspection.archive import load_keras_model
from trainer.keras_inspection.layers import Layer, layers_of
from trainer.keras_inspection.weights import weight_figures
from trainer.plots.model_graph import _boxes, save_network
from trainer.plots.weights import save_weights


def by_name(model: keras.Model) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers_of(model)}


def test_multiply_adds_are_those_counted_by_hand() -> None:
    inputs = keras.Input((8, 10, 3))
    x = layers.Conv2D(4, (3, 5), padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.Conv2D(6, 1, groups=2, name="groups")(x)
    x = layers.SeparableConv2D(5, 3, padding="same", name="separable")(x)
    x = layers.Conv2DTranspose(2, 2, strides=2, name="transpose")(x)
    x = layers.Conv2D(3, 3, strides=2, padding="valid", name="valid")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(7, activation="relu", name="hidden")(x)
    model = keras.Model(inputs, layers.Dense(2, name="answer")(x))
    found = by_name(model)
    wanted = {
        "conv": 8 * 10 * 4 * (3 * 5 * 3),
        "norm": 0,
        "depthwise": 4 * 5 * 8 * (3 * 3),
        "groups": 4 * 5 * 6 * (8 // 2),
        "separable": 4 * 5 * 6 * (3 * 3) + 4 * 5 * 5 * 6,
        "transpose": 4 * 5 * 5 * (2 * 2 * 2),
        "valid": 3 * 4 * 3 * (3 * 3 * 2),
        "flatten": 0,
        "hidden": (3 * 4 * 3) * 7,
        "answer": 7 * 2,
    }
    assert {name: found[name].multiply_adds for name in wanted} == wanted
    assert found["conv"].shape == (8, 10, 4)
    assert found["conv"].parameters == 3 * 5 * 3 * 4 + 4
    assert found["hidden"].detail == "7, relu"
    assert found["depthwise"].detail == "3x3, stride 2x2"
    assert sum(layer.parameters for layer in found.values()) == model.count_params()


def test_what_cannot_be_counted_is_told_and_what_is_called_twice_works_twice() -> None:
    inputs = keras.Input((6, 4))
    shared = layers.Dense(4, name="shared")
    x = shared(shared(inputs))
    x = layers.Dot((2, 2), name="dot")([x, x])
    x = layers.LSTM(3, name="lstm")(x)
    model = keras.Model(inputs, x)
    found = layers_of(model)
    assert [layer.multiply_adds for layer in found if layer.name == "shared"] == [6 * 16, 6 * 16]
    assert [layer.parameters for layer in found if layer.name == "shared"] == [20, 0]
    assert {layer.name for layer in found if layer.multiply_adds is None} == {"dot", "lstm"}
    assert sum(layer.parameters for layer in found) == model.count_params()


def test_an_inner_model_is_taken_apart_in_its_place(tmp_path: Path) -> None:
    inner_input = keras.Input((8, 8, 3), name="inner_input")
    y = layers.Conv2D(4, 3, padding="same", name="conv")(inner_input)
    y = layers.ReLU(name="relu")(y)
    z = layers.Conv2D(4, 3, padding="same", name="branch")(y)
    inner = keras.Model(inner_input, layers.Add(name="add")([y, z]), name="body")
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(inner(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="answer")(x))
    found = by_name(model)
    assert [*found] == [
        "image",
        "body/inner_input",
        "body/conv",
        "body/relu",
        "body/branch",
        "body/add",
        "pool",
        "answer",
    ]
    assert found["body/inner_input"].inputs == ("image",)
    assert found["body/add"].inputs == ("body/relu", "body/branch")
    assert found["pool"].inputs == ("body/add",)
    assert sum(layer.parameters for layer in found.values()) == model.count_params()

    boxes = _boxes([*found.values()])
    assert [*boxes] == ["image", "body/relu", "body/branch", "body/add", "pool", "answer"]
    assert boxes["body/relu"].sources == ["image"]
    assert boxes["body/add"].sources == ["body/relu", "body/branch"]
    save_network(tmp_path / "model.png", [*found.values()], r"$\frac{ network")
    with Image.open(tmp_path / "model.png") as picture:
        assert min(picture.size) > 200


def test_a_sequential_model_and_one_of_no_known_making() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="one"), layers.Dense(2, name="two")])
    assert [layer.multiply_adds for layer in layers_of(model) if layer.kind == "Dense"] == [12, 6]

    class Own(keras.Model):  # type: ignore[misc]
        def invoke(self, x: object) -> object:
            return x

    with pytest.raises(RunError, match="neither functional nor sequential"):
        layers_of(Own())


def test_weights_are_told_channel_by_channel(tmp_path: Path) -> None:
    layer = layers.Conv2D(2, 1, name="conv")
    layer.build((None, 4, 4, 2))
    layer.set_weights([np.array([[[[0.5, 4.0], [-0.25, 0.0]]]], np.float32), np.array([1, -1], np.float32)])
    kernel, bias = weight_figures(layer)
    assert (kernel.name, bias.name) == ("kernel", "bias")
    assert (kernel.least, kernel.greatest, kernel.zeros) == (-0.25, 4.0, 0.25)
    assert kernel.mean == pytest.approx(4.25 / 4)
    assert kernel.channels is not None
    assert kernel.channels.tolist() == [[-0.25, 0.5], [0.0, 4.0]]
    assert kernel.spread == 8
    assert bias.channels is None

    depthwise = layers.DepthwiseConv2D(1, depth_multiplier=2)
    depthwise.build((None, 4, 4, 3))
    depthwise.set_weights([np.arange(6, dtype=np.float32).reshape(1, 1, 3, 2), np.zeros(6, np.float32)])
    kernel, _ = weight_figures(depthwise)
    assert kernel.channels is not None
    assert kernel.channels[:, 1].tolist() == [0, 1, 2, 3, 4, 5]
    assert kernel.spread is None
    assert weight_figures(layers.ReLU()) == []
    save_weights(tmp_path / "weights.png", [kernel, bias], r"$\frac{")
    with Image.open(tmp_path / "weights.png") as picture:
        assert min(picture.size) > 300


def test_a_run_is_inspected(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "look"
    model = keras.saving.load_model(small_run / "model.keras")
    # Keras goes on counting where an earlier training of this process stopped.
    name = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][1]
    command = ("inspect", small_run, "--layer", name, "--out", out)
    found = json.loads(answer(*command, "--json"))
    metrics = json.loads((small_run / "metrics.json").read_text())
    assert found["parameters"] == metrics["parameters"] == sum(layer["parameters"] for layer in found["layers"])
    assert found["multiply_adds"] == sum(layer["multiply_adds"] for layer in found["layers"]) > 100_000
    assert found["not_counted"] == []
    assert found["outputs"] == metrics["outputs"] == "softmax over 10 classes"
    assert metrics["loss"] == "categorical-crossentropy", "labels are smoothed"
    assert found["layers"][0]["output_shape"] == [8, 8, 1]
    assert found["layers"][-1]["output_shape"] == [10]
    kernel = np.asarray(model.get_layer(name).kernel)
    told, bias = found["layer"]["weights"]
    assert bias["shape"] == [kernel.shape[-1]]
    assert told["shape"] == [*kernel.shape]
    assert told["min"] == pytest.approx(float(kernel.min()))
    assert len(told["channels"]) == kernel.shape[-1]
    assert sorted(path.name for path in out.iterdir()) == ["model.png", f"weights-{name}.png"]

    text = answer("inspect", small_run)
    assert f"{metrics['parameters']:,} parameters" in text
    result = invoke("inspect", small_run, "--layer", "none")
    assert result.exit_code == 2
    assert name in result.stderr


def test_the_values_of_a_layer_are_printed_and_written(dense_run: Path, small_run: Path, tmp_path: Path) -> None:
    model = keras.saving.load_model(dense_run / "model.keras")
    first, second = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][:2]
    kernel, bias = (np.asarray(weight) for weight in first.weights)
    command = ("inspect", dense_run, "--layer", first.name, "--values")
    found = json.loads(answer(*command, "--npy", tmp_path / "npy", "--out", tmp_path / "look", "--json"))
    told = {tensor["name"]: tensor["values"] for tensor in found["layer"]["weights"]}
    np.testing.assert_array_equal(np.array(told["kernel"], np.float32), kernel)
    np.testing.assert_array_equal(np.array(told["bias"], np.float32), bias)
    np.testing.assert_array_equal(np.load(tmp_path / "npy" / f"{first.name}-kernel.npy"), kernel)
    np.testing.assert_array_equal(np.load(tmp_path / "npy" / f"{first.name}-bias.npy"), bias)
    drawn = {"model.png", f"weights-{first.name}.png", f"kernels-{first.name}.png"}
    assert {path.name for path in (tmp_path / "look").iterdir()} == drawn
    text = answer(*command)
    assert "\nkernel 64x16\n[[" in text
    assert "\nbias 16\n[" in text
    assert all(len(line) <= 80 for line in text.partition("kernel 64x16\n")[2].splitlines())
    # Only the first layer looks at pixels, whatever the shapes of the others.
    answer("inspect", dense_run, "--layer", second.name, "--out", tmp_path / "second")
    assert not list((tmp_path / "second").glob("kernels-*"))
    name = next(layer.name for layer in keras.saving.load_model(small_run / "model.keras").layers if layer.weights)
    answer("inspect", small_run, "--layer", name, "--out", tmp_path / "small")
    assert list((tmp_path / "small").glob("kernels-*"))
    for option in (("--values",), ("--npy", tmp_path / "other")):
        result = invoke("inspect", dense_run, *option)
        assert result.exit_code == 2
        assert "--layer" in result.stderr


def test_no_code_of_a_run_is_run(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, witness = tmp_path / "model.keras", tmp_path / "ran"
    (tmp_path / "planted.py").write_text(f"open({str(witness)!r}, 'w').close()\n\ndef fly(**_): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with zipfile.ZipFile(small_run / "model.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1] |= {"module": "planted", "class_name": "fly", "registered_name": None}
                content = json.dumps(config).encode()
            target.writestr(name, content)
    with pytest.raises(RunError, match=r"is fly of planted, code that is not part of Keras"):
        load_keras_model(path)

    inputs = keras.Input((2,))
    outputs = layers.Lambda(lambda x: x, output_shape=(2,))(inputs)
    keras.Model(inputs, outputs).save(path)
    with pytest.raises(RunError, match="Lambda"):
        load_keras_model(path)
    path.write_bytes(b"no archive")
    with pytest.raises(RunError, match=r"no \.keras archive"):
        load_keras_model(path)
    assert not witness.exists()


def read_figures(folder: Path) -> object:
    run = read_run(folder)
    return run.metrics, run.history


def test_a_run_half_there_is_refused_in_one_line(small_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        read_run(tmp_path)
    copy = tmp_path / "run"
    for missing in ("metrics.json", "history.csv"):
        shutil.copytree(small_run, copy)
        (copy / missing).unlink()
        with pytest.raises(RunError, match=f"{missing}: missing"):
            read_figures(copy)
        shutil.rmtree(copy)
    shutil.copytree(small_run, copy)
    for name, content in (("metrics.json", "[]"), ("metrics.json", "{"), ("history.csv", "epoch,loss\n1,many\n")):
        kept = (copy / name).read_bytes()
        (copy / name).write_text(content)
        with pytest.raises(RunError, match="not as the trainer writes them"):
            read_figures(copy)
        (copy / name).write_bytes(kept)
    (copy / "model.keras").unlink()
    result = invoke("inspect", copy)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "model.keras" in result.stderr.splitlines()[-1]
