"""A SavedModel folder as a Keras model; refused if its graph does more than compute.

A SavedModel is a program: TensorFlow's operations can write files and call Python, and some run on loading. So the
operations are checked first: one with side effects must be one that every SavedModel has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from runtime.files import read_regular_file, shown

from .errors import ExportError

FILE = "saved_model.pb"
_SIGNATURE = "serving_default"
_MAX_BYTES = 2**31 - 1
#: Calls, variables, and reading the checkpoint: the only stateful operations of a graph of layers.
_HARMLESS = frozenset(
    {
        *("VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp", "VariableV2", "DisableCopyOnRead"),
        *("StatefulPartitionedCall", "PartitionedCall", "RestoreV2", "Placeholder", "If", "While"),
    }
)
#: They write the checkpoint, and are allowed only in functions that nothing but saving calls.
_SAVING = frozenset({"SaveV2", "MergeV2Checkpoints", "ShardedFilename"})


def load_saved_model(path: Path) -> Any:
    """The signature `serving_default` of a SavedModel as a Keras model.

    Raises:
        ExportError: the model cannot be loaded, or its graph has side effects.
    """
    name = shown(path)
    content, _ = read_regular_file(path / FILE, _MAX_BYTES, ExportError)
    try:
        described = saved_model_pb2.SavedModel.FromString(content)
        graphs = [graph.graph_def for graph in described.meta_graphs]
        signatures = [graph.signature_def.get(_SIGNATURE) for graph in described.meta_graphs]
    except Exception as error:  # protobuf raises its own kinds
        raise ExportError(f"{name}: cannot be loaded: {FILE} is damaged ({error})") from error
    for meta, graph in zip(described.meta_graphs, graphs, strict=True):
        _refuse_side_effects(graph, meta.saver_def.save_tensor_name.partition(":")[0], name)
    if len(signatures) != 1 or signatures[0] is None:
        raise ExportError(f"{name}: cannot be loaded: no signature {_SIGNATURE}; save it with model.export(...)")
    shapes = [_shape(tensor) for tensor in signatures[0].inputs.values()]
    if len(shapes) != 1 or len(signatures[0].outputs) != 1:
        raise ExportError(f"{name}: {len(shapes)} inputs and {len(signatures[0].outputs)} outputs, expected 1 of each")
    try:
        layer = keras.layers.TFSMLayer(str(path), call_endpoint=_SIGNATURE, name="saved_model")
        inputs = keras.Input(shapes[0][1:], name="image")
        (outputs,) = layer(inputs).values()
        return keras.Model(inputs, outputs)
    except Exception as error:  # TensorFlow raises many kinds
        raise ExportError(f"{name}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(None if dim.size < 0 else dim.size for dim in tensor.tensor_shape.dim)


def _refuse_side_effects(graph: Any, saver: str, name: str) -> None:
    """Raise an ExportError if the graph has side effects.

    Args:
        saver: the node of the main graph that only saving runs.
    """
    saves = {function.signature.name for function in graph.library.function if _only_saves(function)}
    for where, node in _nodes(graph):
        definition = op_def_registry.get(node.op)
        known = definition is not None or any(node.op == f.signature.name for f in graph.library.function)
        harmless = known and (definition is None or not definition.is_stateful or node.op in _HARMLESS)
        saving = node.op in _SAVING and where in saves
        calls = {called for attribute in node.attr.values() for called in _called(attribute)}
        if (not harmless and not saving) or (calls & saves and (where, node.name) != ("", saver)):
            raise ExportError(
                f"{name}: cannot be loaded: its operation {shown(node.op)} ({shown(node.name)}) does more than "
                "compute; only operations of layers are run"
            )


def _nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    """All operations as (function, node); the function is "" for the main graph."""
    yield from (("", node) for node in graph.node)
    for function in graph.library.function:
        yield from ((function.signature.name, node) for node in function.node_def)


def _called(attribute: Any) -> list[str]:
    """The functions that an attribute of a node names."""
    return [attribute.func.name, *(function.name for function in attribute.list.func)]


def _only_saves(function: Any) -> bool:
    return bool(function.signature.name.startswith("__inference__traced_save"))
