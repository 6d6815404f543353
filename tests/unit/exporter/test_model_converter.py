"""Networks that the converter may die of are converted in a child; all others here, and to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from exporter import model_converter
from exporter.converter import convert
from exporter.errors import ExportError
from exporter.keras_loading import load_model
from exporter.model_converter import SAFE, ModelConverter, converter_child, risky_layers
from exporter.recipe import MODES, Recipe
from runtime import Contract, ImageInput
from tests.support.commands import call_pocketlens, succeed
from tests.support.datasets import SHADES, fill_class
from trainer.keras_inspection.graph import all_calls

CONTRACT = Contract(("a", "b", "c"), ImageInput(12, 12, "grey", mean=(0.0,), std=(255.0,)))
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 1)).astype(np.uint8)


def classifier(body: Callable[[Any], Any], channels: int = 1, batch: int | None = 1) -> Any:
    inputs = keras.Input((12, 12, channels), batch_size=batch)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(body(inputs)))


def recurrent(layer: Any) -> Any:
    return classifier(lambda inputs: layer(layers.Reshape((12, 12))(inputs)))


def ordinary() -> Any:
    """Every layer and operation that is converted in the exporter's own process."""
    keras.utils.set_random_seed(0)

    def body(x: Any) -> Any:
        x = layers.Normalization(mean=0.5, variance=0.3)(layers.Rescaling(2.0)(x))
        x = (layers.GaussianNoise(0.1)(x) - 0.5) / 0.7
        for augment in (layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomZoom(0.1)):
            x = augment(x)
        x = layers.RandomContrast(0.1)(layers.RandomTranslation(0.1, 0.1)(x))
        x = layers.Activation("tanh")(layers.Conv2D(4, 3, padding="same")(x))
        x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(x))
        y = layers.LeakyReLU()(layers.SeparableConv2D(4, 3, padding="same")(x))
        z = layers.Conv2D(4, 3, padding="same", groups=2)(layers.ReLU(6.0)(x))
        x = layers.Add()([x, y, z]) * 0.5
        x = layers.Concatenate()([layers.Average()([x, y]), layers.Maximum()([x, z]), layers.Subtract()([x, y])])
        x = layers.UpSampling2D()(layers.MaxPooling2D()(layers.SpatialDropout2D(0.1)(x)))
        x = layers.Cropping2D(1)(layers.ZeroPadding2D(2)(layers.AveragePooling2D(2)(x)))
        x = x[:, :-1, 1:]
        pooled = [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
        gate = layers.Softmax()(layers.Dropout(0.1)(layers.Add()(pooled)))
        return layers.Reshape((-1,))(layers.Flatten()(layers.Multiply()([layers.Reshape((1, 1, -1))(gate), x])))

    return classifier(body)


def test_the_usual_layers_convert_in_every_mode_here_and_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ordinary()
    kinds = {type(call.layer).__name__ for call in all_calls(model)}
    assert kinds == SAFE
    assert not risky_layers(model)
    recipes = [Recipe.of(mode) for mode in MODES]
    with converter_child() as child:
        here = ModelConverter(model, CONTRACT, PIXELS, child)
        files = [here.convert(recipe) for recipe in recipes]
        assert child._process is None
        monkeypatch.setattr(model_converter, "SAFE", frozenset())
        there = ModelConverter(model, CONTRACT, PIXELS, child)
        assert [there.convert(recipe) for recipe in recipes] == files
        assert child._process is not None
        calibrated = there.calibrate()
        assert there.quantize(calibrated, Recipe.int8(), ()) == here.quantize(calibrated, Recipe.int8(), ())


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (layers.LSTM(4, name="memory"), "'memory' (LSTM)"),
        pytest.param(layers.Bidirectional(layers.GRU(4), name="both"), "(GRU)", marks=pytest.mark.slow),
        pytest.param(layers.RNN(layers.SimpleRNNCell(4), name="own"), "'own' (RNN)", marks=pytest.mark.slow),
    ],
)
def test_a_loop_that_kills_the_converter_is_named_with_what_works(layer: Any, named: str) -> None:
    model = recurrent(layer)
    with converter_child() as child:
        converter = ModelConverter(model, CONTRACT, PIXELS, child)
        for recipe in (Recipe.int8(), Recipe.int16x8()):
            with pytest.raises(ExportError) as caught:
                converter.convert(recipe)
            message = str(caught.value)
            assert message.startswith(f"{recipe.name}: TensorFlow's converter broke off")
            for words in (named, "SIGSEGV", "unroll=True", "`mode=dynamic`", "`mode=float16`"):
                assert words in message
        for recipe in (Recipe.dynamic(), Recipe.float16(), Recipe.float32()):  # the next call goes on
            assert converter.convert(recipe)[4:8] == b"TFL3"


def test_unrolled_loops_convert_to_integers_with_the_same_weights() -> None:
    model, unrolled = recurrent(layers.LSTM(4)), recurrent(layers.LSTM(4, unroll=True))
    unrolled.set_weights(model.get_weights())
    with converter_child() as child:
        assert ModelConverter(unrolled, CONTRACT, PIXELS, child).convert(Recipe.int8())[4:8] == b"TFL3"


def test_the_loop_of_a_saved_model_is_refused_with_what_works(tmp_path: Path) -> None:
    recurrent(layers.SimpleRNN(4, name="memory")).export(tmp_path / "saved", verbose=False)
    model = load_model(tmp_path / "saved", CONTRACT)
    with converter_child() as child, pytest.raises(ExportError, match="unroll=True"):
        ModelConverter(model, CONTRACT, PIXELS, child).convert(Recipe.int8())


def test_the_command_says_it_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    labels = tuple(SHADES)
    model = classifier(lambda x: layers.LSTM(4, name="memory")(layers.Reshape((12, 36))(x)), channels=3, batch=None)
    model.save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    for number, label in enumerate(labels):
        fill_class(tmp_path / "calibration" / label, label, range(40 * number, 40 * number + 10))
        fill_class(tmp_path / "test" / label, label, range(500, 505))
    given = ("--labels", tmp_path / "labels.txt", "--calibration", tmp_path / "calibration", "--mean", 0, "--std", 255)
    result = call_pocketlens(
        "export", tmp_path / "model.keras", *given, "--test", tmp_path / "test", "--out", tmp_path / "out"
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith(
        "in the loop of the recurrent layer 'memory' (LSTM); build it with unroll=True, which keeps the weights, or "
        "give --mode dynamic or --mode float16 instead"
    )
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    advised = ("--mode", "dynamic", "--accept-low-accuracy", "--out", tmp_path / "out")
    result = succeed(call_pocketlens("export", tmp_path / "model.keras", *given, "--test", tmp_path / "test", *advised))
    assert "compute in a loop, so that a device refuses them unless it is told to trust them" in result.stderr
    assert (tmp_path / "out/dynamic.tflite").exists()


def test_what_the_converter_prints_stays_out_of_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    inputs = keras.Input((12, 12, 1), batch_size=1)
    outputs = keras.ops.fft2((inputs[..., 0], inputs[..., 0]))[0]
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(outputs)))
    with pytest.raises(ExportError, match="int8: cannot be converted: ") as caught:
        convert(model, Recipe.int8(), CONTRACT, PIXELS)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
