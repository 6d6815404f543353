"""Operators against a target, the cure, the Coral, and the layers that are named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from exporter.candidate import Converted, convert_for_target
from exporter.converter import convert
from exporter.edgetpu import map_operators, summarize_mapping
from exporter.errors import ExportError
from exporter.keras_loading import load_model
from exporter.operator_support import (
    TARGETS,
    PlacedOperator,
    PlacedTensor,
    find_lacking,
    layer_of,
    placed_operators,
    refuse_lacking,
    runnable_library,
)
from exporter.recipe import Recipe
from runtime import Contract, ImageInput
from runtime.interpreter import installed
from runtime.tflite.graph import OperatorUse, operator_use
from runtime.tflite.reader import Table
from trainer.keras_inspection.graph import layer_names

CONTRACT = Contract(("a", "b", "c"), ImageInput(12, 12, "grey"))
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 1), dtype=np.uint8)


def network(activation: str = "relu", middle: Callable[[Any], Any] = lambda x: x) -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(batch_shape=(1, 12, 12, 1), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    x = middle(layers.Flatten(name="flat")(x))
    x = layers.Dense(32, activation=activation, name="hidden")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="answer")(x), name="classifier")


def made(model: Any, recipe: Recipe, target: str) -> Converted:
    converter = partial(convert, model, contract=CONTRACT, samples=PIXELS)
    return convert_for_target(converter, layer_names(model), recipe, target)


@pytest.fixture(scope="module")
def plain() -> Any:
    return network()


def test_the_dense_operator_that_the_target_lacks_is_avoided_and_told(plain: Any) -> None:
    found = made(plain, Recipe.dynamic(), "tflite-runtime-2.14")
    (note,) = found.notes
    assert note.startswith("dynamic: FULLY_CONNECTED version 12, which tflite-runtime 2.14.0 lacks, was avoided")
    assert "'hidden'" in note
    assert find_lacking(placed_operators(found.flatbuffer, ()), "tflite-runtime-2.14") == []
    untouched = made(plain, Recipe.dynamic(), "litert")
    assert untouched.notes == ()
    uses = {(p.use.name, p.use.version) for p in placed_operators(untouched.flatbuffer, ())}
    assert ("FULLY_CONNECTED", 12) in uses


def test_an_operator_that_the_target_lacks_is_named_with_its_layer_and_cure() -> None:
    model = network("mish")
    reason = (
        r"int8: LOG version 2 \(layer 'hidden'\): tflite-runtime 2\.14\.0 knows it up to version 1; "
        r"the cure is `target=litert` where the device has ai-edge-litert"
    )
    with pytest.raises(ExportError, match=reason):
        made(model, Recipe.int8(), "tflite-runtime-2.14")
    assert made(model, Recipe.int8(), "litert").notes == ()


def test_custom_operators_are_lacking_everywhere() -> None:
    operators = [PlacedOperator(OperatorUse("CUSTOM", 1, 32, "FlexErfinv"), "strange", ())]
    for target in TARGETS:
        (lack,) = find_lacking(operators, target)
        with pytest.raises(ExportError, match=r"custom operator FlexErfinv \(layer 'strange'\).*does not know it"):
            refuse_lacking([lack], "int8", target)


@pytest.mark.parametrize("recipe", [Recipe.float32(), Recipe.int8()], ids=lambda recipe: recipe.name)
def test_what_cannot_be_converted_names_the_layer(recipe: Recipe) -> None:
    class Strange(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.math.erfinv(x)

    model = network(middle=Strange(name="odd_one"))
    with pytest.raises(ExportError, match=r"no built-in operator for Erfinv of layer 'odd_one'; replace the layer"):
        made(model, recipe, "litert")


def test_a_dense_layer_without_a_bias_gets_one_scale_for_all_its_weights() -> None:
    # tflite-runtime 2.14 dies of it on ARM, which no test on this processor would show.
    inputs = keras.Input(batch_shape=(1, 12, 12, 1))
    answer = layers.Dense(3, activation="softmax", use_bias=False, name="bare")(layers.Flatten()(inputs))
    model = keras.Model(inputs, answer)
    bare = made(model, Recipe.int8(), "tflite-runtime-2.14")
    assert any("without a bias" in note and "'bare'" in note for note in bare.notes)
    assert scales_of_dense_weights(bare.flatbuffer) == [1]
    on_litert = made(model, Recipe.int8(), "litert")
    assert not on_litert.notes
    assert scales_of_dense_weights(on_litert.flatbuffer) == [3]


def scales_of_dense_weights(content: bytes) -> list[int]:
    """How many scales the weights of each FULLY_CONNECTED operator have."""
    model = Table.root(content)
    uses = [operator_use(table).name for table in model.tables(1)]
    (graph,) = model.tables(2)
    tensors = graph.tables(0)
    return [
        len(quantization.numbers(2, "f"))
        for table in graph.tables(3)
        if uses[table.number(0, "I")] == "FULLY_CONNECTED"
        if (quantization := tensors[table.numbers(1, "i")[1]].table(4)) is not None
    ]


def test_the_coral_takes_an_int8_network_whole_and_float_not_at_all(plain: Any) -> None:
    int8 = map_operators(made(plain, Recipe.int8(), "tflite-runtime-2.14").operators)
    assert all(mapping.mapped for mapping in int8)
    assert {mapping.layer for mapping in int8} >= {"first", "hidden", "answer"}
    assert summarize_mapping(int8) == f"Edge TPU: {len(int8)} of {len(int8)} operators would be mapped"
    floats = map_operators(made(plain, Recipe.float32(), "tflite-runtime-2.14").operators)
    assert not any(mapping.mapped for mapping in floats)
    assert "CONV_2D version 1 of first (it has float32 values" in summarize_mapping(floats)


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("HARD_SWISH", PlacedTensor("INT8", (1, 4)), "does not support"),
        ("ADD", PlacedTensor("INT8", (1, -1, 4)), "not fixed"),
        ("ADD", PlacedTensor("INT8", (2, 4, 4, 4)), "innermost"),
        ("ADD", PlacedTensor("INT16", (1, 4)), "int16 values"),
        ("SOFTMAX", PlacedTensor("INT8", (1, 20_000)), "16,000"),
    ],
)
def test_after_the_first_operator_that_is_not_mapped_none_is(name: str, tensor: PlacedTensor, reason: str) -> None:
    good = PlacedOperator(OperatorUse("RELU", 2, 19), "ok", (PlacedTensor("INT8", (1, 4)),))
    bad = PlacedOperator(OperatorUse(name, 1, 0), "layer", (tensor,))
    first, second, third = map_operators([good, bad, good])
    assert first.mapped
    assert reason in second.reason
    assert third.reason == f"after {name} of layer, which is not mapped"


def test_layers_are_found_in_the_converters_names() -> None:
    known = {"conv", "conv_1", "top", "relu"}
    assert layer_of("classifier_1/top_1/conv_1/Relu;classifier_1/top_1/conv_1/convolution", known) == "conv_1"
    assert layer_of("classifier_1/top_1/conv_2/Relu", known) == "conv"
    assert layer_of("StatefulPartitionedCall_1:0", known) == "StatefulPartitionedCall_1:0"
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="deep")], name="inner")
    assert layer_names(keras.Sequential([keras.Input((4,)), inner], name="outer")) >= {"inner", "deep"}


def test_the_target_measures_where_it_is_installed() -> None:
    for target, library in TARGETS.items():
        found, warning = runnable_library(target)
        if library in installed() and not warning:
            assert found == library
        else:
            assert found == "auto"
            assert "by its table of operators, but run in" in warning
    with pytest.raises(ExportError, match=r"expected one of tflite-runtime-2\.14, litert"):
        runnable_library("tpu")


def test_a_second_export_of_one_process_has_the_same_bytes(plain: Any, tmp_path: Path) -> None:
    plain.save(tmp_path / "model.keras")
    first, second = (
        convert(load_model(tmp_path / "model.keras", CONTRACT), Recipe.int8(), CONTRACT, PIXELS) for _ in range(2)
    )
    assert first == second
