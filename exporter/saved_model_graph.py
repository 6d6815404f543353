"""The graph of a SavedModel's signature, cut out of its protobuf without TensorFlow's loader, and checked.

A SavedModel is a program: TensorFlow's operations read and write files, open connections and call Python, and its
loader runs some of them before anybody calls the model. So the loader is not used. Only the operations from
whose values the output is computed are cut out of the file. Initialisers, assets and functions that only training calls
are dropped. Every remaining operation must be in `ALLOWED`, which lists operations that only compute.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tensorflow.core.framework import graph_pb2, types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from runtime.files import shown

from .errors import ExportError

SIGNATURE = "serving_default"
MAX_NODES = 200_000
#: All constants of a graph together, as they are in memory.
MAX_CONSTANT_BYTES = 2**30
_SERVING = "serve"
_PLACEHOLDERS = ("Placeholder", "PlaceholderWithDefault")
VARIABLES = ("VarHandleOp", "VariableV2", "Variable")
_READERS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")
_ASSIGNMENTS = ("AssignVariableOp", "Assign")
#: Operations without an effect outside their outputs, whose outputs follow from their inputs alone.
_COMPUTING = frozenset(
    """
    Abs Acos Acosh Add AddN AddV2 AdjustContrastv2 AdjustHue AdjustSaturation All Any ArgMax ArgMin Asin Asinh
    Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpace BatchToSpaceND
    BiasAdd BiasAddV1 Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastTo Cast Ceil ClipByValue
    Concat ConcatOffset ConcatV2 Const Conv Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos Cosh
    CropAndResize Cross Cumprod Cumsum DepthToSpace DepthwiseConv2dNative Diag DiagPart Dilation2D Div DivNoNan
    Einsum Elu EnsureShape Equal Erf Erfc Exp ExpandDims Expm1 ExtractImagePatches FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual HSVToRGB Identity IdentityN
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 Inv Invert InvertPermutation IsFinite IsInf IsNan
    L2Loss LRN LeakyRelu LeftShift Less LessEqual LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr
    MatMul MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3
    MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 Max MaxPool MaxPool3D MaxPoolV2 Maximum Mean Merge Min Minimum
    MirrorPad Mod Mul MulNoNan Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 Pow PreventGradient Prod
    QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 RGBToHSV Range
    Rank RealDiv Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor
    Reverse ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt ScaleAndTranslate ScatterNd SegmentMax
    SegmentMean SegmentSum Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Snapshot Softmax
    Softplus Softsign SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference
    Squeeze StopGradient StridedSlice Sub Sum Switch Tan Tanh TensorListElementShape TensorListFromTensor
    TensorListGetItem TensorListLength TensorListReserve TensorListSetItem TensorListStack TensorScatterAdd
    TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile TopK
    TopKV2 Transpose TruncateDiv TruncateMod Unpack UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentSum
    Where Xdivy Xlog1py Xlogy ZerosLike
    """.split()  # noqa: SIM905 - a list of strings would take 200 lines
)
_CALLS = (
    "PartitionedCall",
    "StatefulPartitionedCall",
    "If",
    "StatelessIf",
    "While",
    "StatelessWhile",
    "Case",
    "StatelessCase",
)
ALLOWED = _COMPUTING | {*_CALLS, *_PLACEHOLDERS, *VARIABLES, *_READERS}
#: What a tensor may hold; strings are not among it. A variable's handle and a list of tensors stay within the graph.
_NUMBERS = frozenset(
    getattr(types_pb2, f"DT_{name}")
    for name in (
        *("BOOL", "FLOAT", "DOUBLE", "HALF", "BFLOAT16", "INT8", "INT16", "INT32", "INT64"),
        *("UINT8", "UINT16", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128"),
    )
)
_REFERENCE = 100  # a type's number is so much higher where a tensor refers to a variable of TensorFlow 1
_TYPES = frozenset({types_pb2.DT_INVALID, types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT, *_NUMBERS})


class SignatureGraph(NamedTuple):
    """The graph that computes a signature's output.

    Attributes:
        graph: the operations that the output is computed from, and the functions that they call.
        input, output: the names of the two tensors.
        shape: of the input; None for a length that may vary.
        dtype: the input's type, as a number of TensorFlow's `DataType`.
        variables: the node of each variable, with its key in the checkpoint; "" where nothing restores it.
    """

    graph: Any
    input: str
    output: str
    shape: tuple[int | None, ...]
    dtype: int
    variables: dict[str, str]


def read_signature(content: bytes, name: str) -> SignatureGraph:
    """The graph behind the signature `serving_default` of a `saved_model.pb`.

    Args:
        content: the file.
        name: the folder's name, for messages.

    Raises:
        ExportError: damaged, without such a signature, or an operation is not one of `ALLOWED`.
    """
    try:
        metas = saved_model_pb2.SavedModel.FromString(content).meta_graphs
        meta = next((meta for meta in metas if _SERVING in meta.meta_info_def.tags), metas[0] if metas else None)
    except Exception as error:  # protobuf raises its own kinds
        raise ExportError(f"{name}: cannot be loaded: saved_model.pb is damaged ({error})") from error
    if meta is None or SIGNATURE not in meta.signature_def:
        raise ExportError(f"{name}: cannot be loaded: no signature {SIGNATURE}; save it with model.export(...)")
    signature = meta.signature_def[SIGNATURE]
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        raise ExportError(
            f"{name}: {len(signature.inputs)} inputs and {len(signature.outputs)} outputs, expected 1 of each"
        )
    (given,), (answer,) = signature.inputs.values(), signature.outputs.values()
    slicer = _Slicer(meta.graph_def, name)
    graph = slicer.slice(given.name.partition(":")[0], answer.name.partition(":")[0])
    check_saved_graph(graph, name)
    tidy(graph)
    keys = _checkpoint_keys(meta)
    variables = {node.name: keys.get(node.name, "") for node in graph.node if node.op in VARIABLES}
    shape = tuple(None if dim.size < 0 else dim.size for dim in given.tensor_shape.dim)
    return SignatureGraph(graph, given.name, answer.name, shape, given.dtype, variables)


def tidy(graph: Any) -> None:
    """Remove the private attributes of functions and operations, since converters refuse those that an optimizer adds.

    The functions get unique names, since a process has one list of functions for all models.
    """
    suffix = f"_{hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()[:16]}"
    functions = {function.signature.name for function in graph.library.function}
    for function in graph.library.function:
        function.attr.clear()
        function.arg_attr.clear()
        function.signature.name += suffix
    for node in all_nodes(graph):
        node.op += suffix if node.op in functions else ""
        for key, attribute in list(node.attr.items()):
            if key[:1] == "_":
                del node.attr[key]
                continue
            for called in (*([attribute.func] if attribute.HasField("func") else []), *attribute.list.func):
                called.name += suffix
    graph.library.ClearField("gradient")


def check_saved_graph(graph: Any, name: str) -> None:
    """Raise an ExportError unless all operations of a graph and its functions are allowed, and its tensors numbers."""
    functions = {function.signature.name for function in graph.library.function}
    count = constants = 0
    for node in all_nodes(graph):
        count += 1
        if node.op not in ALLOWED and node.op not in functions:
            _refuse(node, name)
        for attribute in node.attr.values():
            types = [attribute.type, *attribute.list.type]
            tensors = [attribute.tensor] if attribute.HasField("tensor") else list(attribute.list.tensor)
            if any(kind % _REFERENCE not in _TYPES for kind in types) or any(t.dtype not in _NUMBERS for t in tensors):
                raise ExportError(
                    f"{name}: cannot be loaded: its operation {shown(node.op)} ({shown(node.name)}) has a tensor that "
                    "does not hold numbers"
                )
            constants += sum(_bytes(tensor) for tensor in tensors)
    if count > MAX_NODES or constants > MAX_CONSTANT_BYTES:
        raise ExportError(
            f"{name}: cannot be loaded: {count:,} operations and constants of {constants:,} bytes, expected at most "
            f"{MAX_NODES:,} and {MAX_CONSTANT_BYTES:,}"
        )


def _refuse(node: Any, name: str) -> None:
    reason = "does more than compute; only operations of layers are run"
    if "Random" in node.op or "StatefulUniform" in node.op or node.op == "Multinomial":
        reason = "is random: this model contains augmentation; give the .keras file instead"
    raise ExportError(f"{name}: cannot be loaded: its operation {shown(node.op)} ({shown(node.name)}) {reason}")


def _bytes(tensor: Any) -> int:
    """The memory of a constant, at most 16 bytes an element, which may be stored as one value for all."""
    lengths = [dim.size for dim in tensor.tensor_shape.dim]
    size = {types_pb2.DT_FLOAT: 4, types_pb2.DT_INT32: 4, types_pb2.DT_HALF: 2, types_pb2.DT_BFLOAT16: 2}
    count: int = math.prod(max(0, length) for length in lengths)
    return count * size.get(tensor.dtype, 16)


def all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


class _Slicer:
    """Copies the nodes that an output is computed from; control dependencies (`^name`) are not followed."""

    def __init__(self, graph: Any, name: str) -> None:
        self._graph, self._name = graph, name
        self._functions = {function.signature.name: function for function in graph.library.function}
        for function in self._functions:
            if op_def_registry.get(function) is not None:
                raise ExportError(f"{name}: cannot be loaded: its function {shown(function)} has an operation's name")

    def slice(self, given: str, answer: str) -> Any:
        """The graph between an input and an output, each a node's name."""
        sliced = graph_pb2.GraphDef(versions=self._graph.versions)
        nodes = {node.name: node for node in self._graph.node}
        source = nodes.get(given)
        if source is None or source.op not in _PLACEHOLDERS or answer not in nodes:
            raise ExportError(f"{self._name}: cannot be loaded: its signature names tensors that the graph lacks")
        kept = self._feeding(nodes, [answer, given])
        sliced.node.extend(kept)
        called = self._called(kept)
        done: dict[str, list[str]] = {}
        while called:
            name = called.pop()
            if name in done:
                continue
            function = self._functions.get(name)
            if function is None:
                raise ExportError(f"{self._name}: cannot be loaded: its function {shown(name)} is missing")
            body = self._feeding({node.name: node for node in function.node_def}, list(function.ret.values()))
            done[name] = self._called(body)
            called += done[name]
            sliced.library.function.append(_function(function, body))
        self._refuse_recursion(done)
        return sliced

    def _feeding(self, nodes: dict[str, Any], targets: Iterable[str]) -> list[Any]:
        """Copies of the nodes that the targets' values come from, in the order of the file."""
        todo, kept = [target.partition(":")[0] for target in targets], set[str]()
        while todo:
            name = todo.pop()
            if name in kept or name not in nodes:  # an argument of the function, or a name that TensorFlow will refuse
                continue
            kept.add(name)
            todo += [given.partition(":")[0] for given in nodes[name].input if given[:1] != "^"]
        return [_bare(node) for name, node in nodes.items() if name in kept]

    def _called(self, nodes: Iterable[Any]) -> list[str]:
        names = [node.op for node in nodes if node.op in self._functions]
        for node in nodes:
            for attribute in node.attr.values():
                names += [function.name for function in (attribute.func, *attribute.list.func) if function.name]
        return names

    def _refuse_recursion(self, calls: dict[str, list[str]]) -> None:
        """Refuse a function that calls itself, since it would be inlined without end."""
        waiting = {name: set(called) for name, called in calls.items()}
        while waiting:
            free = [name for name, called in waiting.items() if not called & waiting.keys()]
            if not free:
                raise ExportError(f"{self._name}: cannot be loaded: its function {shown(min(waiting))} calls itself")
            for name in free:
                del waiting[name]


def _bare(node: Any) -> Any:
    """A copy without devices, control dependencies and private attributes."""
    copy = type(node)(name=node.name, op=node.op, input=[given for given in node.input if given[:1] != "^"])
    for key, attribute in node.attr.items():
        if key[:1] != "_":
            copy.attr[key].CopyFrom(attribute)
    for key in ("config", "config_proto", "executor_type", "container", "shared_name", "debug_name"):
        if key in copy.attr:
            copy.attr[key].s = b""
    if copy.op in VARIABLES:
        copy.attr["shared_name"].s = copy.name.encode()
    return copy


def _function(function: Any, body: list[Any]) -> Any:
    copy = type(function)()
    copy.signature.CopyFrom(function.signature)
    copy.signature.ClearField("control_output")
    copy.signature.is_stateful = False
    copy.node_def.extend(body)
    copy.ret.update(function.ret)
    return copy


def _checkpoint_keys(meta: Any) -> dict[str, str]:
    """The checkpoint key of each variable's node, from the assignments of the graph's restore operation."""
    nodes = {node.name: node for node in meta.graph_def.node}
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    found = _assignments(nodes)
    restore = nodes.get(meta.saver_def.restore_op_name.partition(":")[0])
    called = functions.get(restore.attr["f"].func.name if restore is not None else "")
    if restore is not None and called is not None:
        arguments = dict(zip([a.name for a in called.signature.input_arg], restore.input, strict=False))
        inside = _assignments({node.name: node for node in called.node_def})
        found |= {arguments[target].partition(":")[0]: key for target, key in inside.items() if target in arguments}
    return found


def _assignments(nodes: dict[str, Any]) -> dict[str, str]:
    """The checkpoint key that RestoreV2 reads for each variable or argument."""
    found = {}
    for node in nodes.values():
        if node.op not in _ASSIGNMENTS or len(node.input) < 2:
            continue
        source = node.input[1]
        for _ in range(4):  # Identity operations in between
            before = nodes.get(source.partition(":")[0])
            if before is None or before.op != "Identity" or not before.input:
                break
            source = before.input[0]
        restored = nodes.get(source.partition(":")[0])
        if restored is None or restored.op != "RestoreV2" or len(restored.input) < 3:
            continue
        keys, slices = (_strings(nodes.get(given.partition(":")[0])) for given in restored.input[1:3])
        last = source.rpartition(":")[2]
        index = int(last) if last.isdigit() else 0
        if index < len(keys) and not any(slices):
            found[node.input[0].partition(":")[0]] = keys[index]
    return found


def _strings(node: Any) -> list[str]:
    if node is None or node.op != "Const":
        return []
    return [value.decode(errors="replace") for value in node.attr["value"].tensor.string_val]
