"""The embedding as a second output: what the last dense layer of a network takes, which `pocketlens teach` compares.

The scores are computed as without it: the tensor is there anyway, and it only becomes an output too.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from runtime.contract import MAX_EMBEDDING
from trainer.keras_inspection.graph import Call, all_calls, graph_of

from .errors import ExportError

#: The name of the output in a file; the contract names it too.
EMBEDDING = "embedding"
#: Layers between the last dense layer and the scores.
_BEHIND = (keras.layers.Activation, keras.layers.Softmax, keras.layers.Reshape, keras.layers.Dropout)


def with_embedding(model: Any, name: str) -> Any:
    """A Keras model with the input of its last dense layer as a second output; it shares the layers.

    Args:
        model: from `keras_loading.load_model`.
        name: the model's name, for messages.

    Raises:
        ExportError: the scores do not come from a dense layer, or the layer takes too few or too many values.
    """
    found = _both_outputs(model)
    if found is None:
        raise ExportError(
            f"{name}: no embedding: its scores do not come from a dense layer behind other layers; leave out "
            "`embedding`, or let the network end with a Dense"
        )
    scores, embedding = found
    size = math.prod(embedding.shape[1:])
    if not 2 <= size <= MAX_EMBEDDING:
        raise ExportError(
            f"{name}: its last dense layer takes {size:,} values, expected 2 to {MAX_EMBEDDING:,} for an embedding; "
            "put a GlobalAveragePooling2D before it, or leave out `embedding`"
        )
    return keras.Model(model.inputs, [scores, embedding], name=model.name)


def _both_outputs(model: Any) -> tuple[Any, Any] | None:
    """The scores of a model and the input of its last dense layer, as tensors of its graph; None if it has none."""
    graph = graph_of(model)
    if graph is None:
        return None
    calls = all_calls(graph, nested=False)
    places = {id(call.output): call for call in calls}
    behind: list[Call] = []
    call = places[id(graph.outputs[0])]
    while isinstance(call.layer, _BEHIND) and len(call.input_tensors) == 1:
        behind.append(call)
        call = places[id(call.input_tensors[0])]
    if isinstance(call.layer, keras.layers.Dense):
        before = call.input_tensors[0]
        is_input = any(before is given for given in graph.inputs)
        return None if is_input or len(before.shape) != 2 else (graph.outputs[0], before)
    if not isinstance(call.layer, keras.Model) or len(call.input_tensors) != 1:
        return None
    inside = _both_outputs(call.layer)
    if inside is None:
        return None
    # The name is part of the tensors' names in the file.
    inner = keras.Model(call.layer.inputs, [*inside], name=call.layer.name)
    scores, embedding = inner(call.input_tensors[0])
    for later in reversed(behind):
        scores = later.layer(scores)
    return scores, embedding
