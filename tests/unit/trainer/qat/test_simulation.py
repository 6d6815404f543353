"""The simulation compared with the exporter's int8 file in the device's interpreter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from exporter.converter import convert
from exporter.recipe import Recipe
from runtime import Contract, ImageInput, Preprocessor
from runtime.interpreter import build
from tests.support.exports import Exported
from tests.support.qat_networks import ALL, SHAPE, depthwise, residual
from trainer.qat.fake_quantization import quantized_values, quantized_weights
from trainer.qat.fine_tuning import input_range
from trainer.qat.folding import fold_batch_norm
from trainer.qat.simulation import Simulation
from trainer.qat.steps import Rounding, simulation_steps

pytestmark = pytest.mark.workstation
INPUT = ImageInput(SHAPE[0], SHAPE[1], "rgb", mean=(120.0,) * 3, std=(70.0,) * 3)
#: Pictures that the converter and the simulation take the ranges from.
CALIBRATION = 40


@pytest.fixture(scope="module")
def pixels() -> npt.NDArray[np.uint8]:
    """Pictures of soft blots; the first has a black and a white pixel."""
    rng = np.random.default_rng(1)
    blots = rng.integers(0, 256, (400, 4, 4, SHAPE[2]), np.uint8)
    made = np.repeat(np.repeat(blots, 3, axis=1), 3, axis=2)
    made[0, 0, 0, 0], made[0, 0, 1, 0] = 0, 255
    return made


def simulate(model: Any, pixels: npt.NDArray[np.uint8]) -> Simulation:
    simulation = Simulation(fold_batch_norm(model), input_range(INPUT))
    scaled = Preprocessor(INPUT).scale(pixels[:CALIBRATION])
    simulation.calibrate(np.array_split(scaled, 3))
    return simulation


def int8_file(model: Any, pixels: npt.NDArray[np.uint8]) -> bytes:
    inputs = keras.Input(batch_shape=(1, *SHAPE), name="image")
    fixed = keras.Model(inputs, model(inputs))
    labels = tuple(str(n) for n in range(model.output_shape[1]))
    return convert(fixed, Recipe.int8(), Contract(labels, INPUT), pixels[:CALIBRATION])


def answers(content: bytes, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    interpreter = build(content)
    given, (told,) = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()
    scale, zero = told["quantization"]
    found = []
    for picture in pixels:
        interpreter.set_tensor(given, picture[np.newaxis])
        interpreter.invoke()
        found.append((interpreter.get_tensor(told["index"])[0].astype(np.float32) - zero) * scale)
    return np.stack(found)


def grids_of_file(content: bytes) -> set[tuple[float, int]]:
    """Scale and zero point of its int8 activations."""
    interpreter: Any = build(content)
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    written = [details[index] for op in interpreter._get_ops_details() for index in op["outputs"]]
    return {(float(f"{d['quantization'][0]:.4g}"), d["quantization"][1]) for d in written if d["dtype"] is np.int8}


def grids_of_simulation(simulation: Simulation) -> set[tuple[float, int]]:
    found = set()
    steps = simulation_steps(simulation.network)
    for step, observed in zip(steps, np.asarray(simulation.ranges), strict=True):
        if step.rounding in (Rounding.OBSERVED, Rounding.FIXED):
            least, greatest = step.fixed_range or observed
            scale = (greatest - least) / 255
            found.add((float(f"{scale:.4g}"), round(-128 - least / scale)))
    return found


@pytest.mark.parametrize("network", ALL)
def test_the_simulation_answers_as_the_int8_file(network: Callable[[], Any], pixels: npt.NDArray[np.uint8]) -> None:
    model = network()
    simulation, content = simulate(model, pixels), int8_file(model, pixels)
    scaled = Preprocessor(INPUT).scale(pixels)
    expected, found = answers(content, pixels), simulation.predict(scaled, verbose=0)
    assert len(set(expected.argmax(axis=1))) > 1, "the network gives every picture the same answer"
    unrounded = model.predict(scaled, verbose=0)
    agreement, of_float = ((expected.argmax(axis=1) == a.argmax(axis=1)).mean() for a in (found, unrounded))
    assert agreement >= 0.95  # of networks whose random weights leave many pictures between two answers
    assert agreement > of_float
    # Of `residual` the rest is MEAN, which the interpreter rounds in its own way.
    assert np.abs(expected - found).mean() < (0.6 if network is residual else 0.3) * np.abs(expected - unrounded).mean()


def test_a_trained_networks_int8_file_answers_as_simulated(digits_run: Path, digits_export: Exported) -> None:
    """Each takes the ranges from 500 pictures of its own choice."""
    contract = Contract.from_json((digits_run / "contract.json").read_text())
    splits = json.loads((digits_run / "splits.json").read_text())
    pixels = np.load(digits_run / "images.npy")[..., np.newaxis]
    simulation = Simulation(
        fold_batch_norm(keras.saving.load_model(digits_run / "model.keras")), input_range(contract.input)
    )
    scale = Preprocessor(contract.image_input).scale
    simulation.calibrate([scale(pixels[np.random.default_rng(5).permutation(splits["train"])[:500]])])
    judged = pixels[splits["test"] + splits["validation"]]
    expected, found = answers(digits_export.int8.read_bytes(), judged), simulation.predict(scale(judged), verbose=0)
    assert len(judged) > 400
    assert (expected.argmax(axis=1) == found.argmax(axis=1)).mean() >= 0.99


@pytest.mark.parametrize("network", ALL)
def test_every_activation_has_the_files_scale_and_zero_point(
    network: Callable[[], Any], pixels: npt.NDArray[np.uint8]
) -> None:
    model = network()
    of_file, of_simulation = grids_of_file(int8_file(model, pixels)), grids_of_simulation(simulate(model, pixels))
    answer = {(float(f"{1 / 256:.4g}"), -128)}  # the answer's own is not simulated
    assert of_simulation - answer == of_file - answer


def test_the_file_of_the_folded_network_is_that_of_the_network(pixels: npt.NDArray[np.uint8]) -> None:
    model = depthwise()
    as_it_was, folded = (answers(int8_file(m, pixels), pixels) for m in (model, fold_batch_norm(model)))
    assert np.abs(as_it_was - folded).max() <= 2 / 256


def test_gradients_reach_every_weight(pixels: npt.NDArray[np.uint8]) -> None:
    simulation = simulate(residual(), pixels)
    scaled = Preprocessor(INPUT).scale(pixels[:64])
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.math.log(simulation(scaled, training=True)[:, 0]))
    variables = simulation.trainable_variables
    assert [v.path for v in variables] == [v.path for v in simulation.network.trainable_variables]
    for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
        assert gradient is not None, variable.path
        assert float(tf.norm(gradient)) > 0, variable.path


def test_values_are_rounded_to_256_and_gradients_pass_within_the_range() -> None:
    values = tf.constant(np.linspace(-2, 3, 2001, dtype=np.float32))
    with tf.GradientTape() as tape:
        tape.watch(values)
        rounded = quantized_values(values, -1.0, 1.55)
    assert len(set(rounded.numpy().tolist())) == 256
    assert 0.0 in rounded.numpy()
    inside = (values.numpy() >= -1) & (values.numpy() <= 1.55)
    assert np.abs(rounded.numpy() - values.numpy())[inside].max() <= 0.0051
    np.testing.assert_array_equal(tape.gradient(rounded, values).numpy() > 0, inside)


@pytest.mark.parametrize(("shape", "depthwise"), [((3, 3, 4, 5), False), ((3, 3, 4, 5), True), ((30, 4), False)])
def test_each_channel_of_a_kernel_has_255_symmetric_values(shape: tuple[int, ...], depthwise: bool) -> None:
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    kernel[..., 0] *= 1000
    kernel[..., -1] = 0
    rounded = quantized_weights(tf.constant(kernel), depthwise).numpy()
    axes = tuple(range(len(shape) - (2 if depthwise else 1)))
    scale = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True) / 127, 1e-12)
    np.testing.assert_allclose(rounded, np.round(kernel / scale) * scale, atol=1e-6 * scale.max())
    assert np.abs(np.round(rounded / scale)).max() == 127
    assert (rounded[..., -1] == 0).all()
