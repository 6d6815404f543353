"""Loads a SavedModel folder as a Keras model, in a child process and never with TensorFlow's loader.

`saved_model_graph` describes what is refused and why.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from runtime.child_limits import ChildLimits
from runtime.child_process import ChildError, call_in_child
from runtime.files import read_regular_file, shown

from .errors import ExportError
from .saved_model_freezing import graph_function
from .saved_model_graph import all_nodes, check_saved_graph

_FREEZE = "exporter.saved_model_freezing:freeze"
_LIMITS = ChildLimits(cpu_seconds=600, memory_bytes=8 * 2**30, network=False)
_TIMEOUT_S = 900
_MAX_GRAPH_BYTES = 2**31 - 1
#: Operations with weights, which no interpreter has in these types. A .keras file is read in float32.
_WEIGHTED = re.compile(r"(Conv|DepthwiseConv|BatchMatMul|MatMul|BiasAdd|Einsum|FusedBatchNorm)")
_HALF_TYPES = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)
#: For the environment of a child with TensorFlow that needs no graphics card.
TENSORFLOW_ON_CPU = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


class FrozenGraph(keras.layers.Layer):  # type: ignore[misc]
    """A graph of constants and computing operations as a layer; arguments as for `graph_function`.

    Attributes:
        has_loop: whether it computes step after step in a loop, as recurrent layers do.
    """

    def __init__(self, graph: Any, given: str, answer: str, shape: Sequence[int | None], dtype: int) -> None:
        super().__init__(name="saved_model")
        self.has_loop = any(node.op in ("While", "StatelessWhile") for node in all_nodes(graph))
        self._tf_function = graph_function(graph, given, answer, shape, dtype)

    def call(self, image: Any) -> Any:
        """The answer for a batch."""
        return self._tf_function(image)


def load_saved_model(path: Path) -> Any:
    """The signature `serving_default` of a SavedModel as a Keras model.

    Raises:
        ExportError: the model cannot be loaded, or its graph does more than compute.
    """
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        out = Path(folder, "graph.pb")
        try:
            found = call_in_child(
                _FREEZE, str(path.absolute()), str(out), timeout=_TIMEOUT_S, limits=_LIMITS, variables=TENSORFLOW_ON_CPU
            )
        except ChildError as error:
            own = error.status == 1
            raise ExportError(str(error) if own else f"{shown(path)}: cannot be loaded: {error}") from error
        content, _ = read_regular_file(out, _MAX_GRAPH_BYTES, ExportError)
    name, shape = shown(path), tuple(found["shape"])
    graph = tf.compat.v1.GraphDef.FromString(content)
    check_saved_graph(graph, name)
    _refuse_half_precision(graph, name)
    try:
        inputs = keras.Input(shape[1:], name="image")
        return keras.Model(inputs, FrozenGraph(graph, found["input"], found["output"], shape, found["dtype"])(inputs))
    except Exception as error:  # TensorFlow raises many kinds
        raise ExportError(f"{name}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error


def _refuse_half_precision(graph: Any, name: str) -> None:
    for node in all_nodes(graph):
        kind = node.attr["T"].type if "T" in node.attr else None  # a look alone would add an attribute without a value
        if kind in _HALF_TYPES and _WEIGHTED.match(node.op):
            found = tf.dtypes.as_dtype(kind).name
            raise ExportError(
                f"{name}: cannot be converted: it computes in {found} ({shown(node.name)}), for which no interpreter "
                "has operators; give the .keras file, which is read in float32"
            )
