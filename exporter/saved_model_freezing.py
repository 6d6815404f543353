"""Freezes a SavedModel: makes one graph of it, without variables. `exporter.saved_model` runs this in a child process.

TensorFlow gets only the graph that `saved_model_graph` accepted. TensorFlow's checkpoint reader, which opens only files
of `variables/`, reads the variables, and they become constants.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from runtime.errors import describe
from runtime.files import read_regular_file, shown

from .errors import ExportError
from .saved_model_graph import VARIABLES, SignatureGraph, check_saved_graph, read_signature, tidy

FILE = "saved_model.pb"
_MAX_BYTES = 2**29
_MAX_VARIABLE_BYTES = 2**30
_TRIAL_SEED = 0


def freeze(folder: str, out: str) -> dict[str, Any]:
    """Write the frozen graph of a SavedModel to a file.

    Returns:
        `input` and `output`, names of tensors; `shape` and `dtype` of the input, null for a length that may vary.

    Raises:
        ExportError: it cannot be loaded, or its graph does more than compute.
    """
    path, name = Path(folder), shown(Path(folder).name)
    content, _ = read_regular_file(path / FILE, _MAX_BYTES, ExportError)
    signature = read_signature(content, name)
    values = _read_variables(path, signature.variables, name)
    try:
        frozen = convert_variables_to_constants_v2(_function(signature, values), lower_control_flow=False)
        graph, given, answer = frozen.graph.as_graph_def(), frozen.inputs[0].name, frozen.outputs[0].name
    except Exception as error:  # TensorFlow raises many kinds
        raise ExportError(f"{name}: cannot be loaded: {describe(error)[:300]}") from error
    tidy(graph)
    check_saved_graph(graph, name)
    if any(node.op in VARIABLES for node in graph.node):
        raise ExportError(f"{name}: cannot be loaded: one of its variables cannot become a constant")
    _try(graph_function(graph, given, answer, signature.shape, signature.dtype), signature, name)
    Path(out).write_bytes(graph.SerializeToString())
    return {"input": given, "output": answer, "shape": signature.shape, "dtype": signature.dtype}


def graph_function(graph: Any, given: str, answer: str, shape: Sequence[int | None], dtype: int) -> Any:
    """A graph of one input and one output, each named, as a function of TensorFlow."""
    return tf.compat.v1.wrap_function(
        lambda image: tf.graph_util.import_graph_def(graph, {given: image}, [answer], name="")[0],
        [tf.TensorSpec(shape, tf.dtypes.as_dtype(dtype), "image")],
    )


def _function(signature: SignatureGraph, arrays: dict[str, Any]) -> Any:
    values = {node: tf.Variable(array, trainable=False) for node, array in arrays.items()}

    for node in signature.graph.node:
        if node.op in VARIABLES and node.op != "VarHandleOp":  # TensorFlow 1 reads these by their name
            node.op = "Const"
            node.attr.clear()
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(arrays[node.name]))
            node.attr["dtype"].type = node.attr["value"].tensor.dtype

    def call(image: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        handles = {node.name for node in signature.graph.node if node.op == "VarHandleOp"}
        given = {f"{node}:0": graph.capture(values[node].handle) for node in handles}
        return tf.graph_util.import_graph_def(
            signature.graph, {signature.input: image, **given}, [signature.output], name=""
        )[0]

    dtype = tf.dtypes.as_dtype(signature.dtype)
    function = tf.compat.v1.wrap_function(call, [tf.TensorSpec(signature.shape, dtype, "image")])
    function.graph.variables = tuple(values.values())  # it captured their handles only
    return function


def _try(function: Any, signature: SignatureGraph, name: str) -> None:
    """Run the graph once within the limits of this process, before a process without limits runs it."""
    shape = [1 if length is None else length for length in signature.shape]
    noise = np.random.default_rng(_TRIAL_SEED).uniform(0, 1, shape)
    try:
        function(tf.constant(noise, tf.dtypes.as_dtype(signature.dtype)))
    except Exception as error:  # TensorFlow raises many kinds
        raise ExportError(f"{name}: cannot be loaded: it does not run: {describe(error)[:300]}") from error


def _read_variables(path: Path, keys: dict[str, str], name: str) -> dict[str, Any]:
    """The value of each variable, by its node."""
    if not keys:
        return {}
    for file in sorted((path / "variables").glob("variables.*")):
        if not stat.S_ISREG(os.lstat(file).st_mode):
            raise ExportError(f"{name}: cannot be loaded: {shown(file.name)} in variables/ is not a regular file")
    try:
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except Exception as error:  # TensorFlow raises many kinds
        raise ExportError(f"{name}: cannot be loaded: its variables cannot be read: {describe(error)[:300]}") from error
    total, values = 0, dict[str, Any]()
    for node, key in keys.items():
        if key not in shapes:
            raise ExportError(f"{name}: cannot be loaded: its variable {shown(node)} is not in its checkpoint")
        total += math.prod(shapes[key]) * types[key].size
        if total > _MAX_VARIABLE_BYTES:
            raise ExportError(f"{name}: cannot be loaded: its variables take more than {_MAX_VARIABLE_BYTES:,} bytes")
        value = reader.get_tensor(key)
        if value.dtype.kind not in "fiub" and types[key] != tf.bfloat16:
            raise ExportError(f"{name}: cannot be loaded: its variable {shown(node)} does not hold numbers")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ExportError(f"{name}: weights of {shown(node)} are not numbers (NaN or infinite); train again")
        values[node] = value
    return values
