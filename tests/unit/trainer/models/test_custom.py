"""Custom models: `build_model` in a user's file, and the errors for unusable files."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support.commands import call_pocketlens, run_pocketlens, succeed
from trainer.errors import TrainingError
from trainer.models.custom import build_custom

GOOD = """
import keras
from keras import layers

def build_model(input_shape, classes):
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(inputs)
    x = layers.Dense(12, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))
"""
SHAPE, CLASSES = (8, 8, 1), 10


def written(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(text)
    return str(path)


def test_a_model_is_built(tmp_path: Path) -> None:
    model = build_custom(written(tmp_path, GOOD), SHAPE, CLASSES)
    assert model.count_params() == 64 * 12 + 12 + 12 * 10 + 10
    assert np.asarray(model(np.zeros((3, *SHAPE), np.float32))).shape == (3, 10)


def test_a_file_may_hold_dataclasses(tmp_path: Path) -> None:
    widths = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    widths += "@dataclass\nclass Widths:\n    first: int = 12\n"
    model = build_custom(written(tmp_path, widths + GOOD.replace("Dense(12", "Dense(Widths().first")), SHAPE, CLASSES)
    assert model.count_params() == 64 * 12 + 12 + 12 * 10 + 10


REGISTERED = """
import keras

@keras.saving.register_keras_serializable("mine")
def twice(x):
    return 2 * x
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def build_model(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("", "no function build_model"),
        ("build_model = 3", "no function build_model"),
        ("def build_model(shape, classes): raise ValueError('many\\nlines')", "ValueError: many lines"),
        ("def build_model(shape, classes): raise SystemExit(0)", "SystemExit"),
        ("def build_model(shape): pass", "TypeError"),
        ("def build_model(shape, classes): return None", "gave NoneType"),
        (GOOD.replace("Dense(classes,", "Dense(classes + 1,"), r"answers \(11,\) values an image, expected \(10,\)"),
        (GOOD.replace(', activation="softmax"', ""), "end it with a softmax"),
        (GOOD.replace("Input(input_shape)", "Input((9, 9, 1))"), r"does not take \(8, 8, 1\)"),
        (GOOD.replace("layers.Flatten()(inputs)", "layers.Flatten()(layers.Lambda(abs)(inputs))"), "Lambda"),
        (GOOD + "\nclass Mine(layers.Dense): pass\nlayers.Dense = Mine\n", "is a Mine, which cannot be loaded"),
        (GOOD.replace('"relu"', "lambda x: x * 2"), "cannot be saved and loaded without this file"),
        (REGISTERED + GOOD.replace('"relu"', "twice"), "cannot be saved and loaded without this file"),
    ],
)
def test_a_file_that_gives_no_such_model_is_told_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    dense = keras.layers.Dense
    try:
        with pytest.raises(TrainingError, match=reason) as error:
            build_custom(written(tmp_path, text), SHAPE, CLASSES)
    finally:
        keras.layers.Dense = dense
    assert str(error.value).startswith(str(tmp_path / "mine.py"))
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
@pytest.mark.parametrize("score", [1.0, 0.99999994])
def test_a_softmax_over_one_unit_is_refused_on_every_processor(score: float, tmp_path: Path) -> None:
    """Some processors compute 0.99999994 for it."""
    ends = f'layers.Rescaling({score})(layers.Dense(classes, activation="softmax")(x))'
    text = GOOD.replace('layers.Dense(classes, activation="softmax")(x)', ends)
    with pytest.raises(TrainingError, match="sum to one; end it with one sigmoid"):
        build_custom(written(tmp_path, text), SHAPE, 1, "binary")
    sigmoid = GOOD.replace('"softmax"', '"sigmoid"')
    assert build_custom(written(tmp_path, sigmoid), SHAPE, 1, "binary").output_shape == (None, 1)


def test_a_model_that_scales_pixels_itself_needs_plain_pixels(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD.replace("Flatten()(inputs)", "Flatten()(layers.Rescaling(1 / 255)(inputs))"))
    with pytest.raises(TrainingError, match=r"scales pixels of 0 to 255 itself \(Rescaling .*`scaling=none`"):
        build_custom(file, SHAPE, CLASSES)
    assert build_custom(file, SHAPE, CLASSES, normalize=False).output_shape == (None, 10)
    options = ("--dataset", "digits", "--epochs", "1", "--model-file", file)
    result = call_pocketlens("train", *options, "--out", tmp_path / "run")
    assert result.returncode == 1
    assert "or give --scaling none" in result.stderr


@pytest.mark.parametrize("name", ["missing.py", "."])
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such Python file"):
        build_custom(str(tmp_path / name), SHAPE, CLASSES)


def test_an_own_model_goes_all_the_way(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    run = tmp_path / "run"
    options = ("--dataset", "digits", "--epochs", "2", "--model-file")
    succeed(call_pocketlens("train", *options, file, "--out", run))
    Path(file).unlink()
    loaded = keras.saving.load_model(run / "model.keras")  # as the exporter does
    assert [layer.name for layer in loaded.layers if "dense" in layer.name]
    assert loaded.count_params() == json.loads((run / "metrics.json").read_text())["parameters"]


def test_a_file_that_ends_the_process_ends_with_an_error(tmp_path: Path) -> None:
    file = written(tmp_path, "raise SystemExit(0)")
    result = run_pocketlens("train", "--dataset", "digits", "--model-file", file, "--out", tmp_path / "run")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"error: {file}: SystemExit")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
