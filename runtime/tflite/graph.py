"""Reads the graph of a TensorFlow Lite model, and checks that its tensors and operators fit each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..files import shown
from ._schema import OPERATORS, TENSOR_TYPES
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


def _maker(use: OperatorUse, table: Table, written: dict[int, str]) -> str:
    """The operator that computed a tensor's values; one that only changes their form passes on its input's."""
    if use.name in ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST"):
        inputs = table.numbers(1, "i")
        return written.get(inputs[0], "") if inputs else ""
    return use.custom or use.name


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
    bits = _BITS.get(TENSOR_TYPES[kind])
    if bits is not None:
        needed = (math.prod(shape) * bits + 7) // 8
        demand(needed <= MAX_TENSOR_BYTES, f"tensor {name!r} of shape {list(shape)} needs {needed:,} bytes")
        sparse = table.has(6)
        demand(
            not size or sparse or size == needed,
            f"tensor {name!r} of shape {list(shape)} needs {needed:,} bytes, its buffer has {size:,}",
        )
    scale, zero_point = _quantization(table.table(4), shape, name)
    info = TensorInfo(name, shape, signature, TENSOR_TYPES[kind], scale, zero_point)
    return GraphTensor(info, constant=size > 0 or 0 in shape, variable=bool(table.number(5, "b")))


def check_graph(graph: Table, tensors: Sequence[GraphTensor], codes: Sequence[OperatorUse], graphs: int) -> str:
    """Check that each operator reads tensors that are written before, and writes tensors that nothing else writes.

    Args:
        graph: the subgraph.
        tensors: its tensors.
        codes: the model's operators.
        graphs: how many subgraphs the model has.

    Returns:
        the operator that makes the first output; see `Structure.last`.
    """
    given, answers = graph.numbers(1, "i"), graph.numbers(2, "i")
    for index in (*given, *answers):
        demand(0 <= index < len(tensors), f"an input or output is tensor {index} of {len(tensors)}")
    written: dict[int, str] = dict.fromkeys(given, "")
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
            written[index] = _maker(use, table, written)
        for index in table.numbers(8, "i"):
            demand(-1 <= index < len(tensors), f"{use.name} keeps tensor {index} of {len(tensors)}")
    for index in answers:
        ready = index in written or tensors[index].constant or tensors[index].variable
        demand(ready, f"output tensor {index} is written by nothing")
    return written.get(answers[0], "") if answers else ""


def _used(table: Table, codes: Sequence[OperatorUse], graphs: int) -> OperatorUse:
    """The operator of a node; checks the subgraphs that it calls."""
    index: int = table.number(0, "I")
    demand(index < len(codes), f"an operator has the code {index} of {len(codes)}")
    use = codes[index]
    slots = _SUBGRAPH_FIELDS.get(use.name, ())
    options = table.table(4 if table.has(4) else 12) if slots else None
    for slot in slots:
        number = options.number(slot, "i") if options else -1
        demand(0 <= number < graphs, f"{use.name} calls subgraph {number} of {graphs}")
    return use
