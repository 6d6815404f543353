"""The graph of a Keras model as a list of calls: the only place that reads Keras's own nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import keras

from ..errors import TrainingError


@dataclass(frozen=True)
class Call:
    """One call of a layer. A layer that is used twice has two calls.

    Attributes:
        layer: a Keras layer, an operation of `keras.ops`, or a model that was not taken apart.
        inputs: places in the list of calls whose outputs it takes. An `InputLayer` has none; that of a nested model has
            the call that feeds the model.
        name: the layer's name, after those of the models that it lies in, with slashes between.
        input_tensors: Keras tensors that it takes.
        output: the first Keras tensor that it gives.
    """

    layer: Any
    inputs: tuple[int, ...]
    name: str
    input_tensors: tuple[Any, ...]
    output: Any


def graph_of(model: Any) -> Any:
    """The graph of a functional or sequential model; None for a model that is written as a class."""
    graph = getattr(model, "_functional", None) or model  # what a sequential model is built as
    return graph if hasattr(graph, "_nodes_by_depth") else None


def all_calls(model: Any, *, nested: bool = True) -> list[Call]:
    """All calls of a model in the order of computation.

    Args:
        model: a model, or a graph from `graph_of`.
        nested: take models inside the model apart, in their place; otherwise each is one call.

    Raises:
        ValueError: the model has no graph.
    """
    graph = _required_graph(model)
    calls: list[Call] = []
    _walk(graph, calls, {}, "", nested=nested)
    return calls


def calls_to_output(model: Any) -> tuple[list[Call], int]:
    """All calls of a model with those of nested models, and the place of the call that gives its first output.

    Raises:
        ValueError: the model has no graph.
    """
    graph = _required_graph(model)
    calls: list[Call] = []
    return calls, _walk(graph, calls, {}, "", nested=True)[id(graph.outputs[0])]


def _required_graph(model: Any) -> Any:
    """The graph of a model; ValueError where it has none."""
    graph = graph_of(model)
    if graph is None:
        raise ValueError(f"the model {model.name!r} is neither functional nor sequential")
    return graph


def _walk(graph: Any, calls: list[Call], feeds: dict[int, int], prefix: str, *, nested: bool) -> dict[int, int]:
    """Append the calls of a graph.

    Args:
        feeds: places of the calls that feed the inputs of a nested graph, by the identity of the input's tensor.

    Returns:
        The place of the call that gives each tensor of the graph, by the tensor's identity.
    """
    places: dict[int, int] = {}
    depths = graph._nodes_by_depth  # Keras has no public way to the graph
    for node in (node for depth in sorted(depths, reverse=True) for node in depths[depth]):
        operation = node.operation
        inner = graph_of(operation) if nested and isinstance(operation, keras.Model) else None
        if inner is not None:
            given = zip(inner.inputs, node.input_tensors, strict=True)
            feeds_inside = {id(inside): places[id(outside)] for inside, outside in given}
            within = _walk(inner, calls, feeds_inside, f"{prefix}{operation.name}/", nested=nested)
            results = zip(node.outputs, inner.outputs, strict=True)
            places.update({id(outside): within[id(inside)] for outside, inside in results})
            continue
        inputs = tuple(places[id(tensor)] for tensor in node.input_tensors)
        if node.is_input and id(node.outputs[0]) in feeds:
            inputs = (feeds[id(node.outputs[0])],)
        places.update({id(tensor): len(calls) for tensor in node.outputs})
        calls.append(Call(operation, inputs, prefix + operation.name, tuple(node.input_tensors), node.outputs[0]))
    return places


def classifier_calls(model: Any) -> list[Call]:
    """The calls that a classifier's output needs, without the inputs of nested models.

    The first call is the model's input, the last gives its output.

    Raises:
        TrainingError: the model has several inputs or outputs, or is written as a class.
    """
    graph = graph_of(model)
    if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise TrainingError(
            f"quantization-aware: the model {model.name!r} is no graph of layers with one input and one output; build "
            "it with keras.Model(inputs, outputs)"
        )
    return _needed(*calls_to_output(graph))


def _needed(calls: list[Call], output: int) -> list[Call]:
    """The calls that the output needs, so that it comes last."""

    def source(place: int) -> int:
        """The call itself, or what feeds it where it is the input of a nested model."""
        while calls[place].inputs and isinstance(calls[place].layer, keras.layers.InputLayer):
            (place,) = calls[place].inputs
        return place

    wanted = {source(output), 0}
    for place in range(output, 0, -1):
        if place in wanted:
            wanted.update(map(source, calls[place].inputs))
    kept = sorted(wanted)
    renumbered = {place: number for number, place in enumerate(kept)}
    chosen = [calls[place] for place in kept]
    return [replace(call, inputs=tuple(renumbered[source(place)] for place in call.inputs)) for call in chosen]


def readers(network: list[Call]) -> Counter[int]:
    """How many calls take the output of each call, by its place."""
    return Counter(place for call in network for place in call.inputs)


def layer_names(model: Any) -> frozenset[str]:
    """The names of a model's layers, and of the layers of nested models."""
    names: set[str] = set()
    for layer in getattr(model, "layers", ()):
        names |= {layer.name} | layer_names(layer)
    return frozenset(names)
