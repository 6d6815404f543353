"""The calls of a Keras model: in order, with nested models taken apart or not."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from trainer.errors import TrainingError
from trainer.keras_inspection.graph import all_calls, classifier_calls, readers


def nested() -> Any:
    """A model with a nested one that has two inputs and two outputs, of which one is not used."""
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    joined = layers.Concatenate(name="join")([layers.Dense(2, name="narrow")(left), right])
    inner = keras.Model([left, right], [joined, layers.Dense(9, name="unused")(right)], name="inner")
    inputs = keras.Input((4,), name="in")
    output, _ = inner([layers.ReLU(name="relu")(inputs), layers.Dense(3, name="three")(inputs)])
    return keras.Model(inputs, layers.Dense(2, name="out")(output), name="outer")


def by_name(calls: Any) -> dict[str, list[str]]:
    return {call.name: [calls[place].name for place in call.inputs] for call in calls}


def test_a_nested_model_is_taken_apart_in_its_place() -> None:
    calls = all_calls(nested())
    inputs = by_name(calls)
    assert inputs["in"] == []
    assert inputs["inner/left"] == ["relu"]
    assert inputs["inner/right"] == ["three"]
    assert inputs["inner/join"] == ["inner/narrow", "inner/right"]
    assert inputs["inner/unused"] == ["inner/right"]
    assert inputs["out"] == ["inner/join"]
    assert all(place < number for number, call in enumerate(calls) for place in call.inputs)
    assert next(call for call in calls if call.name == "inner/join").output.shape == (None, 5)


def test_a_nested_model_may_stay_one_call() -> None:
    calls = all_calls(nested(), nested=False)
    inputs = by_name(calls)
    assert inputs["inner"] == ["relu", "three"]
    assert inputs["out"] == ["inner"]
    assert isinstance(calls[-2].layer, keras.Model)


def test_a_classifier_has_the_calls_that_its_output_needs() -> None:
    calls = classifier_calls(nested())
    inputs = by_name(calls)
    assert not {"inner/left", "inner/right", "inner/unused"} & inputs.keys()
    assert inputs["inner/join"] == ["inner/narrow", "three"]
    assert (calls[0].name, calls[-1].name) == ("in", "out")
    assert readers(calls)[0] == 2


def test_a_layer_that_is_used_twice_has_two_calls() -> None:
    shared = layers.Dense(4, name="shared")
    inputs = keras.Input((4,), name="in")
    calls = all_calls(keras.Model(inputs, shared(shared(inputs))))
    assert [(call.name, call.inputs) for call in calls] == [("in", ()), ("shared", (0,)), ("shared", (1,))]


def test_a_sequential_model_has_a_graph_and_a_model_written_as_a_class_has_none() -> None:
    sequential = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="one"), layers.Dense(2, name="two")])
    assert [call.name for call in classifier_calls(sequential)][1:] == ["one", "two"]

    class Own(keras.Model):  # type: ignore[misc]
        def call(self, x: object) -> object:
            return x

    with pytest.raises(ValueError, match="neither functional nor sequential"):
        all_calls(Own())
    with pytest.raises(TrainingError, match="no graph of layers with one input and one output"):
        classifier_calls(Own())
