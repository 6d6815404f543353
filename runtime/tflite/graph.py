"""Reads the graph of a TensorFlow Lite model, and checks that its tensors and operators fit each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..files import shown
from ._schema import OPERATORS, TENSOR_TYPES, UNIONS
from .reader import Table
from .verifier import FlatBufferError

CUSTOM = OPERATORS.index("CUSTOM")

#: Bits of an element; types that are not listed have no fixed size.
_BITS = {
    "INT2": 2,
    "INT4": 4,
    "UINT4": 4,
    "INT8": 8,
    "UINT8": 8,
    "BOOL": 8,
    "INT16": 16,
    "UINT16": 16,
    "FLOAT16": 16,
    "BFLOAT16": 16,
    "INT32": 32,
    "UINT32": 32,
    "FLOAT32": 32,
    "INT64": 64,
    "UINT64": 64,
    "FLOAT64": 64,
    "COMPLEX64": 64,
    "COMPLEX128": 128,
}
MAX_TENSOR_BYTES = 2**30
_MAX_RANK = 8
#: What an addition of a bias adds: a constant, and the result of a linear operator.
_BIAS = [(False, False), (True, True)]
#: Characters of a name from the file that a message shows.
_SHOWN = 80
#: The fields of an operator's options that hold the number of a subgraph.
_SUBGRAPH_FIELDS = {
    "IF": (0, 1),
    "WHILE": (0, 1),
    "CALL_ONCE": (0,),
    "CALL": (0,),
    "STABLEHLO_COMPOSITE": (1,),
    "STABLEHLO_WHILE": (0, 1),
    "STABLEHLO_REDUCE": (1,),
    "STABLEHLO_REDUCE_WINDOW": (5,),
    "STABLEHLO_SCATTER": (6,),
    "STABLEHLO_SORT": (2,),
}


#: Operators that only move values, or change how they are stored.
_PASSING = (
    *("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST"),
    *("EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "GATHER"),
)
#: Operators whose values are sums without bounds, unless an activation is fused to them: the options and the field that
#: name it; None for those that cannot have one.
_LINEAR: dict[str, tuple[str, int] | None] = {
    "FULLY_CONNECTED": ("FullyConnectedOptions", 0),
    "CONV_2D": ("Conv2DOptions", 3),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 4),
    "BATCH_MATMUL": None,
    "ADD": ("AddOptions", 0),
}
_OPTIONS = UNIONS["BuiltinOptions"].split()
_EXPONENTIALS_SUM = "SUM of EXP"


class Ending(NamedTuple):
    """The operator that computes a tensor's values.

    Attributes:
        operator: its name; a softmax that is written out as EXP, SUM and DIV counts as "SOFTMAX". "" if the values are
            an input or a constant.
        linear: the values are sums without bounds, as of a dense layer without an activation.
        width: the length of its last axis.
    """

    operator: str = ""
    linear: bool = False
    width: int = 0


class OperatorUse(NamedTuple):
    """An operator that a model needs, with its version.

    Attributes:
        name: the built-in operator's name, or "CUSTOM".
        version: 1 or more.
        code: the built-in operator's number.
        custom: the name of a custom operator; "" for built-in ones.
    """

    name: str
    version: int
    code: int
    custom: str = ""

    def __str__(self) -> str:
        return f"custom operator {self.custom}" if self.custom else f"{self.name} version {self.version}"


class TensorInfo(NamedTuple):
    """An input or output as the file describes it.

    Attributes:
        name: the tensor's name.
        shape: the shape.
        signature: the shape with -1 for each length that may vary.
        type: its type, such as "FLOAT32" or "INT8".
        scale, zero_point: its quantization; empty if it is not quantized.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]


def demand(condition: bool, what: str) -> None:
    """Raise FlatBufferError unless a condition holds."""
    if not condition:
        raise FlatBufferError(what)


class GraphTensor(NamedTuple):
    """A tensor; whether its values are in the file, and whether it keeps them between calls."""

    info: TensorInfo
    constant: bool
    variable: bool


def tensor_bytes(kind: str, shape: Sequence[int]) -> int | None:
    """The bytes of a tensor of a type and shape; None for a type whose elements have no fixed size."""
    bits = _BITS.get(kind)
    return None if bits is None else (math.prod(shape) * bits + 7) // 8


def operator_use(table: Table) -> OperatorUse:
    """Read an entry of the list of operators."""
    # Codes from 127 on have a field of their own, and a placeholder in the old one.
    code = max(table.number(0, "b"), table.number(3, "i"))
    version, custom = table.number(2, "i", 1), shown(table.text(1)[:_SHOWN])
    demand(0 <= code < len(OPERATORS), f"it needs operator {code}, which this Pocketlens does not know")
    demand(version >= 1, f"it needs {OPERATORS[code]} version {version}")
    demand(code != CUSTOM or bool(custom), "a custom operator has no name")
    return OperatorUse(OPERATORS[code], version, code, custom if code == CUSTOM else "")


def _quantization(table: Table | None, shape: tuple[int, ...], name: str) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if table is None or table.has(5):  # the details of another kind of quantization replace them
        return (), ()
    scale, zero_point, axis = table.numbers(2, "f"), table.numbers(3, "q"), table.number(6, "i")
    # A sum is not finite if one of its terms is not, and is much faster than a test of each.
    good = not scale or (math.isfinite(sum(scale)) and min(scale) >= 0)
    demand(good, f"tensor {name!r} has a scale that is no positive number")
    demand(
        len(zero_point) in (0, len(scale)), f"tensor {name!r} has {len(scale)} scales and {len(zero_point)} zero points"
    )
    fits = len(scale) <= 1 or (0 <= axis < len(shape) and shape[axis] == len(scale))
    demand(fits, f"tensor {name!r} of shape {list(shape)} has {len(scale)} scales on axis {axis}")
    return scale, zero_point


def _ending(use: OperatorUse, table: Table, shape: Sequence[int], written: dict[int, Ending]) -> Ending:
    """The operator that computes what this one writes: one that only moves values passes on its input's."""
    inputs = [written.get(index, Ending()) for index in table.numbers(1, "i")]
    if use.name in _PASSING:
        return inputs[0] if inputs else Ending()
    made_by = [maker.operator for maker in inputs]
    name = use.custom or use.name.removeprefix("STABLEHLO_")
    if name == "SUM" and made_by[:1] == ["EXP"] and math.prod(shape) == 1:
        name = _EXPONENTIALS_SUM
    elif name == "DIV" and made_by == ["EXP", _EXPONENTIALS_SUM]:
        name = "SOFTMAX"
    return Ending(name, _is_linear(use, table, inputs), shape[-1] if shape else 1)


def _is_linear(use: OperatorUse, table: Table, inputs: Sequence[Ending]) -> bool:
    if use.name not in _LINEAR:
        return False
    # A sum of two answers is not linear: each may have an activation of its own. One of a constant is a bias.
    if use.name == "ADD" and sorted((maker.linear, maker.operator != "") for maker in inputs) != _BIAS:
        return False
    place, options = _LINEAR[use.name], table.table(4)
    if place is None or options is None:
        return True
    kind: int = table.number(3, "B")
    return kind < len(_OPTIONS) and _OPTIONS[kind] == place[0] and options.number(place[1], "b") == 0


def read_tensor(table: Table, sizes: Sequence[int]) -> GraphTensor:
    """Read a tensor, and check its shape and constant; `sizes` holds the number of bytes of each buffer."""
    name, shape = table.text(3)[:_SHOWN], table.numbers(0, "i")
    kind, buffer = table.number(1, "b"), table.number(2, "I")
    demand(0 <= kind < len(TENSOR_TYPES), f"tensor {name!r} has the unknown type {kind}")
    demand(buffer < len(sizes), f"tensor {name!r} is in buffer {buffer} of {len(sizes)}")
    demand(len(shape) <= _MAX_RANK, f"tensor {name!r} has {len(shape)} dimensions, expected at most {_MAX_RANK}")
    demand(all(n >= 0 for n in shape), f"tensor {name!r} has the shape {list(shape)}")
    signature = table.numbers(7, "i") or shape
    demand(
        len(signature) == len(shape) and all(n in (-1, m) for n, m in zip(signature, shape, strict=True)),
        f"tensor {name!r} has the shape {list(shape)} and the signature {list(signature)}",
    )
    size = sizes[buffer] if buffer else 0
    needed = tensor_bytes(TENSOR_TYPES[kind], shape)
    if needed is not None:
        demand(needed <= MAX_TENSOR_BYTES, f"tensor {name!r} of shape {list(shape)} needs {needed:,} bytes")
        sparse = table.has(6)
        demand(
            not size or sparse or size == needed,
            f"tensor {name!r} of shape {list(shape)} needs {needed:,} bytes, its buffer has {size:,}",
        )
    scale, zero_point = _quantization(table.table(4), shape, name)
    info = TensorInfo(name, shape, signature, TENSOR_TYPES[kind], scale, zero_point)
    return GraphTensor(info, constant=size > 0 or 0 in shape, variable=bool(table.number(5, "b")))


def check_graph(graph: Table, tensors: Sequence[GraphTensor], codes: Sequence[OperatorUse], graphs: int) -> Ending:
    """Check that each operator reads tensors that are written before, and writes tensors that nothing else writes.

    Args:
        graph: the subgraph.
        tensors: its tensors.
        codes: the model's operators.
        graphs: how many subgraphs the model has.

    Returns:
        the operator that computes the first output; see `Structure.ending`.
    """
    given, answers = graph.numbers(1, "i"), graph.numbers(2, "i")
    for index in (*given, *answers):
        demand(0 <= index < len(tensors), f"an input or output is tensor {index} of {len(tensors)}")
    written: dict[int, Ending] = dict.fromkeys(given, Ending())
    for table in graph.tables(3):
        use = _used(table, codes, graphs)
        for index in table.numbers(1, "i"):
            demand(-1 <= index < len(tensors), f"{use.name} reads tensor {index} of {len(tensors)}")
            ready = index in written or index < 0 or tensors[index].constant or tensors[index].variable
            demand(ready, f"{use.name} reads tensor {index}, which nothing has written")
        for index in table.numbers(2, "i"):
            demand(0 <= index < len(tensors), f"{use.name} writes tensor {index} of {len(tensors)}")
            free = index not in written and not (tensors[index].constant and 0 not in tensors[index].info.shape)
            demand(free, f"{use.name} writes tensor {index}, which is a constant, an input or written already")
            written[index] = _ending(use, table, tensors[index].info.shape, written)
        for index in table.numbers(8, "i"):
            demand(-1 <= index < len(tensors), f"{use.name} keeps tensor {index} of {len(tensors)}")
    for index in answers:
        ready = index in written or tensors[index].constant or tensors[index].variable
        demand(ready, f"output tensor {index} is written by nothing")
    return written.get(answers[0], Ending()) if answers else Ending()


def _used(table: Table, codes: Sequence[OperatorUse], graphs: int) -> OperatorUse:
    """The operator of a node; checks the subgraphs that it calls."""
    index: int = table.number(0, "I")
    demand(index < len(codes), f"an operator has the code {index} of {len(codes)}")
    use = codes[index]
    for number in called_subgraphs(table, use.name):
        demand(0 <= number < graphs, f"{use.name} calls subgraph {number} of {graphs}")
    return use


def called_subgraphs(table: Table, name: str) -> list[int]:
    """The numbers of the subgraphs that an operator runs; -1 where it does not say which."""
    slots = _SUBGRAPH_FIELDS.get(name, ())
    options = table.table(4 if table.has(4) else 12) if slots else None
    return [options.number(slot, "i") if options else -1 for slot in slots]
