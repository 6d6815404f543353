"""The calls that a Keras model is made of, in order, with nested models taken apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras

from ..errors import TrainingError


@dataclass(frozen=True)
class Call:
    """A layer, and what it is called with.

    Attributes:
        layer: a Keras layer, or an operation of `keras.ops`.
        inputs: places in the list of calls whose answers it takes.
    """

    layer: Any
    inputs: tuple[int, ...]


def calls(model: Any) -> list[Call]:
    """The calls of a functional or sequential model; the first is its input, the last gives its answer.

    Raises:
        TrainingError: the model has several inputs or outputs, or is written as a class.
    """
    network = _functional(model)
    if network is None or len(network.inputs) != 1 or len(network.outputs) != 1:
        raise TrainingError(
            f"quantization-aware: the model {model.name!r} is no graph of layers with one input and one output; build "
            "it with keras.Model(inputs, outputs)"
        )
    found: list[Call] = []
    places: dict[int, int] = {}
    _walk(network, found, places)
    answer = places[id(network.outputs[0])]
    return _needed(found, answer)


def readers(network: list[Call]) -> Counter[int]:
    """How many calls take the answer of each."""
    return Counter(place for call in network for place in call.inputs)


def _functional(model: Any) -> Any:
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs, model.outputs)
    return model if hasattr(model, "operations") else None


def _walk(network: Any, found: list[Call], places: dict[int, int]) -> None:
    """Append the calls of a graph; `places` has those of its tensors, by identity, its input's if it is nested."""
    depths = network._nodes_by_depth  # Keras has no public way to the graph
    for node in (node for depth in sorted(depths, reverse=True) for node in depths[depth]):
        if node.is_input:
            if id(node.outputs[0]) not in places:
                places[id(node.outputs[0])] = len(found)
                found.append(Call(node.operation, ()))
            continue
        inner = _functional(node.operation) if isinstance(node.operation, keras.Model) else None
        if inner is not None and len(inner.inputs) == len(inner.outputs) == 1:
            within = {id(inner.inputs[0]): places[id(node.input_tensors[0])]}
            _walk(inner, found, within)
            places[id(node.outputs[0])] = within[id(inner.outputs[0])]
            continue
        inputs = tuple(places[id(tensor)] for tensor in node.input_tensors)
        for tensor in node.outputs:
            places[id(tensor)] = len(found)
        found.append(Call(node.operation, inputs))


def _needed(found: list[Call], answer: int) -> list[Call]:
    """Without the calls that the answer does not need, so that it comes last."""
    wanted = {answer, 0}
    for place in range(answer, 0, -1):
        if place in wanted:
            wanted.update(found[place].inputs)
    kept = [place for place in range(answer + 1) if place in wanted]
    renumbered = {place: number for number, place in enumerate(kept)}
    return [Call(found[p].layer, tuple(renumbered[i] for i in found[p].inputs)) for p in kept]
