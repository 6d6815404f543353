"""What a TensorFlow Lite model is made of, and whether it hangs together; no interpreter is asked.

An interpreter believes its file. So a file that carries no seal has every offset, index, shape and constant checked
here first: `flatbuffer.verify` for what the format demands, this module for what the graph does. Damage to weights
alone cannot be seen, and a few faults show only when the model runs; for these there is `trial`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from . import tflite_schema
from .errors import ModelFileError
from .flatbuffer import FlatBufferError, Schema, Table, verify

SCHEMA = Schema(tflite_schema.IDENTIFIER, tflite_schema.ROOT, tflite_schema.TABLES, tflite_schema.UNIONS)
OPERATORS = tflite_schema.OPERATORS.split()
TYPES = tflite_schema.TYPES.split()
CUSTOM = OPERATORS.index("CUSTOM")

#: Bits of an element; types that are not here have no fixed size.
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
#: Which fields of which options number a subgraph.
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
    """An operator that a model needs, in the version it needs.

    Attributes:
        name: the built-in operator's, or "CUSTOM".
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
        signature: the shape with -1 for what may vary; the shape itself where nothing may.
        type: "FLOAT32", "INT8"...
        scale, zero_point: of its quantization; empty without.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]


class Structure(NamedTuple):
    """What `check_structure` found.

    Attributes:
        operators: what the model needs, each once, in the order of the file.
        inputs, outputs: of the main subgraph.
        last: the operator that makes the first output, passing over those that only change its form; "" for none.
        metadata: where the bytes of each named entry begin and end.
        end: where the FlatBuffer and what it points to end; an archive may follow.
    """

    operators: tuple[OperatorUse, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    last: str
    metadata: dict[str, tuple[int, int]]
    end: int


def operators(content: bytes, name: str = "model") -> tuple[OperatorUse, ...]:
    """The operators that a model file needs; raises ModelFileError as `check_structure` does."""
    return check_structure(content, name).operators


def check_structure(content: bytes, name: str = "model") -> Structure:
    """Check all of a model file that can be checked without running it.

    Args:
        content: the whole file; an archive may follow the FlatBuffer.
        name: of the file, for messages.

    Raises:
        ModelFileError: not a TensorFlow Lite model, or one that is damaged.
    """
    try:
        return _Checker(content, verify(content, SCHEMA)).structure()
    except FlatBufferError as error:
        raise ModelFileError(f"{name}: damaged, or no TensorFlow Lite model: {error}; copy it again") from error


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise FlatBufferError(what)


class _Tensor(NamedTuple):
    info: TensorInfo
    constant: bool
    variable: bool


class _Checker:
    def __init__(self, content: bytes, end: int) -> None:
        self._content = content
        self._model = Table.root(content)
        self._end = end
        self._codes = [_operator_use(table) for table in self._model.tables(1)]
        self._graphs = self._model.tables(2)
        self._buffers = self._buffer_sizes()

    def structure(self) -> Structure:
        version = self._model.number(0, "I")
        _demand(version == 3, f"its schema has version {version}, expected 3")
        _demand(bool(self._graphs), "it has no subgraph")
        # Tensors first, for all graphs: signatures and operators point across.
        tensors = [[self._tensor(table) for table in graph.tables(0)] for graph in self._graphs]
        lasts = [self._graph(*pair) for pair in zip(self._graphs, tensors, strict=True)]
        self._signatures(tensors)
        main = self._graphs[0]
        return Structure(
            operators=tuple(dict.fromkeys(self._codes)),
            inputs=tuple(tensors[0][i].info for i in main.numbers(1, "i")),
            outputs=tuple(tensors[0][i].info for i in main.numbers(2, "i")),
            last=lasts[0],
            metadata=dict(self._metadata()),
            end=self._end,
        )

    def _buffer_sizes(self) -> list[int]:
        """Bytes of each buffer, wherever they lie."""
        sizes = []
        for table in self._model.tables(4):
            begin, end = table.span(0)
            offset, size = table.number(1, "Q"), table.number(2, "Q")
            if offset > 1:  # 0 and 1 mean that the data lies in the FlatBuffer
                self._outside(offset, size, "a buffer")
                begin, end = offset, offset + size
            sizes.append(end - begin)
        _demand(bool(sizes), "it has no buffers")
        return sizes

    def _outside(self, offset: int, size: int, what: str) -> None:
        """Data that the file holds behind the FlatBuffer."""
        _demand(
            offset + size <= len(self._content),
            f"{what} of {size} bytes at byte {offset} ends outside the file's {len(self._content)} bytes",
        )
        self._end = max(self._end, offset + size)

    def _tensor(self, table: Table) -> _Tensor:
        name, shape = table.text(3), table.numbers(0, "i")
        kind, buffer = table.number(1, "b"), table.number(2, "I")
        _demand(0 <= kind < len(TYPES), f"tensor {name!r} has the unknown type {kind}")
        _demand(buffer < len(self._buffers), f"tensor {name!r} is in buffer {buffer} of {len(self._buffers)}")
        _demand(len(shape) <= _MAX_RANK and all(n >= 0 for n in shape), f"tensor {name!r} has the shape {list(shape)}")
        signature = table.numbers(7, "i") or shape
        _demand(
            len(signature) == len(shape) and all(n in (-1, m) for n, m in zip(signature, shape, strict=True)),
            f"tensor {name!r} has the shape {list(shape)} and the signature {list(signature)}",
        )
        size = self._buffers[buffer] if buffer else 0
        bits = _BITS.get(TYPES[kind])
        if bits is not None:
            needed = (math.prod(shape) * bits + 7) // 8
            _demand(needed <= MAX_TENSOR_BYTES, f"tensor {name!r} of shape {list(shape)} needs {needed:,} bytes")
            sparse = table.has(6)
            _demand(
                not size or sparse or size == needed,
                f"tensor {name!r} of shape {list(shape)} needs {needed:,} bytes, its buffer has {size:,}",
            )
        scale, zero_point = _quantization(table.table(4), shape, name)
        info = TensorInfo(name, shape, signature, TYPES[kind], scale, zero_point)
        return _Tensor(info, constant=size > 0 or 0 in shape, variable=bool(table.number(5, "b")))

    def _graph(self, graph: Table, tensors: list[_Tensor]) -> str:
        """Check that each operator reads what exists by then, and writes what nothing else did; the last's name."""
        given, answers = graph.numbers(1, "i"), graph.numbers(2, "i")
        for index in (*given, *answers):
            _demand(0 <= index < len(tensors), f"an input or output is tensor {index} of {len(tensors)}")
        written = dict.fromkeys(given, "")
        for table in graph.tables(3):
            use = self._operator(table)
            for index in table.numbers(1, "i"):
                _demand(-1 <= index < len(tensors), f"{use.name} reads tensor {index} of {len(tensors)}")
                ready = index in written or index < 0 or tensors[index].constant or tensors[index].variable
                _demand(ready, f"{use.name} reads tensor {index}, which nothing has written")
            for index in table.numbers(2, "i"):
                _demand(0 <= index < len(tensors), f"{use.name} writes tensor {index} of {len(tensors)}")
                free = index not in written and not (tensors[index].constant and 0 not in tensors[index].info.shape)
                _demand(free, f"{use.name} writes tensor {index}, which is a constant, an input or written already")
                written[index] = _maker(use, table, written)
            for index in table.numbers(8, "i"):
                _demand(-1 <= index < len(tensors), f"{use.name} keeps tensor {index} of {len(tensors)}")
        for index in answers:
            ready = index in written or tensors[index].constant or tensors[index].variable
            _demand(ready, f"output tensor {index} is written by nothing")
        return written.get(answers[0], "") if answers else ""

    def _operator(self, table: Table) -> OperatorUse:
        index = table.number(0, "I")
        _demand(index < len(self._codes), f"an operator has the code {index} of {len(self._codes)}")
        use: OperatorUse = self._codes[index]
        offset, size = table.number(9, "Q"), table.number(10, "Q")
        if offset > 1:
            self._outside(offset, size, "a custom operator's options")
        options = table.table(4 if table.has(4) else 12)
        for slot in _SUBGRAPH_FIELDS.get(use.name, ()):
            number = options.number(slot, "i") if options else -1
            _demand(0 <= number < len(self._graphs), f"{use.name} calls subgraph {number} of {len(self._graphs)}")
        return use

    def _signatures(self, tensors: list[list[_Tensor]]) -> None:
        for table in self._model.tables(7):
            graph = table.number(4, "I")
            _demand(graph < len(tensors), f"a signature is of subgraph {graph} of {len(tensors)}")
            for entry in (*table.tables(0), *table.tables(1)):
                index = entry.number(1, "I")
                _demand(index < len(tensors[graph]), f"a signature names tensor {index} of {len(tensors[graph])}")

    def _metadata(self) -> Iterator[tuple[str, tuple[int, int]]]:
        buffers = self._model.tables(4)
        for index in self._model.numbers(5, "i"):
            _demand(0 <= index < len(buffers), f"metadata is in buffer {index} of {len(buffers)}")
        for table in self._model.tables(6):
            index = table.number(1, "I")
            _demand(index < len(buffers), f"metadata {table.text(0)!r} is in buffer {index} of {len(buffers)}")
            yield table.text(0), buffers[index].span(0)


def _operator_use(table: Table) -> OperatorUse:
    """Codes from 127 on have a field of their own, and a placeholder in the old one."""
    code = max(table.number(0, "b"), table.number(3, "i"))
    version, custom = table.number(2, "i", 1), table.text(1)
    _demand(0 <= code < len(OPERATORS), f"it needs operator {code}, which this Pocketlens does not know")
    _demand(version >= 1, f"it needs {OPERATORS[code]} version {version}")
    _demand(code != CUSTOM or bool(custom), "a custom operator has no name")
    return OperatorUse(OPERATORS[code], version, code, custom if code == CUSTOM else "")


def _quantization(table: Table | None, shape: tuple[int, ...], name: str) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if table is None or table.has(5):  # details of another kind say how, not scale and zero point
        return (), ()
    scale, zero_point, axis = table.numbers(2, "f"), table.numbers(3, "q"), table.number(6, "i")
    _demand(all(math.isfinite(s) and s >= 0 for s in scale), f"tensor {name!r} has a scale that is no positive number")
    _demand(
        len(zero_point) in (0, len(scale)), f"tensor {name!r} has {len(scale)} scales and {len(zero_point)} zero points"
    )
    fits = len(scale) <= 1 or (0 <= axis < len(shape) and shape[axis] == len(scale))
    _demand(fits, f"tensor {name!r} of shape {list(shape)} has {len(scale)} scales on axis {axis}")
    return scale, zero_point


def _maker(use: OperatorUse, table: Table, written: dict[int, str]) -> str:
    """The operator whose values a tensor holds: one that only changes their form passes on its input's."""
    if use.name in ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST"):
        inputs = table.numbers(1, "i")
        return written.get(inputs[0], "") if inputs else ""
    return use.custom or use.name
