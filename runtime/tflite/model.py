"""Checks the structure of a TensorFlow Lite model, without an interpreter.

An interpreter trusts its file. So every offset, index, shape and constant of a file without a seal is checked here
first: `verifier` checks the FlatBuffer, `graph` its tensors and operators. Damage to weights alone cannot be found, and
a few faults show only when the model runs; `external.sandbox` is for these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ModelFileError
from . import _schema as schema
from .bounds import unbounded_part
from .graph import Ending, GraphTensor, OperatorUse, TensorInfo, check_graph, demand, operator_use, read_tensor
from .plain import strange_part
from .reader import Table
from .verifier import FlatBufferError, Schema, verify_flatbuffer

MODEL_SCHEMA = Schema(schema.IDENTIFIER, schema.ROOT, schema.TABLES, schema.UNIONS)


class Structure(NamedTuple):
    """The structure of a model.

    Attributes:
        operators: the operators that the model needs, each once, in the order of the file.
        inputs, outputs: the inputs and outputs of the main subgraph.
        ending: the operator that computes the first output; those that only move its values are passed over.
        metadata: each named entry, with the byte positions at which its content begins and ends.
        end: the end of the FlatBuffer and of the data that it points to; an archive may follow.
        strange: what is of no known kind, so that the model must be tried before it is trusted; "" if nothing is.
        unbounded: why its time or memory may depend on its input; "" if they do not.
    """

    operators: tuple[OperatorUse, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ending: Ending
    metadata: dict[str, tuple[int, int]]
    end: int
    strange: str = ""
    unbounded: str = ""


class MainGraph(NamedTuple):
    """The first subgraph of a model, whose structure has been checked.

    Attributes:
        table: the subgraph.
        tensors: its tensors.
        codes: the model's operators, by their number in the file.
        buffers: for each tensor, where its content begins and ends in the file; the same place twice if it has none.
    """

    table: Table
    tensors: list[GraphTensor]
    codes: list[OperatorUse]
    buffers: list[tuple[int, int]]


def operators(content: bytes, name: str = "model") -> tuple[OperatorUse, ...]:
    """The operators that a model file needs; raises ModelFileError as `check_structure` does."""
    return check_structure(content, name).operators


def check_structure(content: bytes, name: str = "model") -> Structure:
    """Check everything in a model file that can be checked without running it.

    Args:
        content: the whole file; an archive may follow the FlatBuffer.
        name: the file's name, for messages.

    Raises:
        ModelFileError: not a TensorFlow Lite model, or a damaged one.
    """
    return _checked(content, name)[0]


def main_graph(content: bytes, name: str = "model") -> MainGraph:
    """The first subgraph of a model file; raises ModelFileError as `check_structure` does."""
    return _checked(content, name)[1].main_graph()


def _checked(content: bytes, name: str) -> tuple[Structure, _Checker]:
    try:
        checker = _Checker(content, verify_flatbuffer(content, MODEL_SCHEMA))
        return checker.structure(), checker
    except FlatBufferError as error:
        raise ModelFileError(f"{name}: damaged, or no TensorFlow Lite model: {error}; copy it again") from error


class _Checker:
    def __init__(self, content: bytes, end: int) -> None:
        self._content = content
        self._model = Table.root(content)
        self._end = end
        self._codes = [operator_use(table) for table in self._model.tables(1)]
        self._graphs = self._model.tables(2)
        #: The byte positions at which the content of each buffer begins and ends.
        self._buffers = [self._buffer(table) for table in self._model.tables(4)]

    def main_graph(self) -> MainGraph:
        main, sizes = self._graphs[0], [end - begin for begin, end in self._buffers]
        places = [self._buffers[table.number(2, "I")] for table in main.tables(0)]
        return MainGraph(main, [read_tensor(table, sizes) for table in main.tables(0)], self._codes, places)

    def structure(self) -> Structure:
        version = self._model.number(0, "I")
        demand(version == 3, f"its schema has version {version}, expected 3")
        demand(bool(self._graphs), "it has no subgraph")
        demand(bool(self._buffers), "it has no buffers")
        sizes = [end - begin for begin, end in self._buffers]
        tensors = [[read_tensor(table, sizes) for table in graph.tables(0)] for graph in self._graphs]
        endings = [
            check_graph(graph, own, self._codes, len(self._graphs))
            for graph, own in zip(self._graphs, tensors, strict=True)
        ]
        self._custom_options()
        self._signatures(tensors)
        self._names()
        main = self._graphs[0]
        return Structure(
            operators=tuple(dict.fromkeys(self._codes)),
            inputs=tuple(tensors[0][i].info for i in main.numbers(1, "i")),
            outputs=tuple(tensors[0][i].info for i in main.numbers(2, "i")),
            ending=endings[0],
            metadata=dict(self._metadata()),
            end=self._end,
            strange=strange_part(self._content, self._graphs, tensors[0], self._codes, self._buffers),
            unbounded=unbounded_part(self._graphs, self._codes),
        )

    def _buffer(self, table: Table) -> tuple[int, int]:
        offset, size = table.number(1, "Q"), table.number(2, "Q")
        if offset <= 1:  # 0 and 1 mean that the data lies in the FlatBuffer
            return table.span(0)
        self._outside(offset, size, "a buffer")
        return offset, offset + size

    def _custom_options(self) -> None:
        for graph in self._graphs:
            for table in graph.tables(3):
                offset, size = table.number(9, "Q"), table.number(10, "Q")
                if offset > 1:
                    self._outside(offset, size, "a custom operator's options")

    def _outside(self, offset: int, size: int, what: str) -> None:
        """Check data that the file holds behind the FlatBuffer."""
        demand(
            offset + size <= len(self._content),
            f"{what} of {size} bytes at byte {offset} ends outside the file's {len(self._content)} bytes",
        )
        self._end = max(self._end, offset + size)

    def _signatures(self, tensors: list[list[GraphTensor]]) -> None:
        for table in self._model.tables(7):
            graph = table.number(4, "I")
            demand(graph < len(tensors), f"a signature is of subgraph {graph} of {len(tensors)}")
            for entry in (*table.tables(0), *table.tables(1)):
                index = entry.number(1, "I")
                demand(index < len(tensors[graph]), f"a signature names tensor {index} of {len(tensors[graph])}")

    def _names(self) -> None:
        """Check the names that an interpreter's Python binding decodes."""
        main = self._graphs[0]
        tables = main.tables(0)
        for index in (*main.numbers(1, "i"), *main.numbers(2, "i")):
            try:
                tables[index].data(3).decode()
            except UnicodeDecodeError:
                demand(False, f"the name of tensor {index} is no text in UTF-8")

    def _metadata(self) -> Iterator[tuple[str, tuple[int, int]]]:
        count = len(self._buffers)
        for index in self._model.numbers(5, "i"):
            demand(0 <= index < count, f"metadata is in buffer {index} of {count}")
        for table in self._model.tables(6):
            index = table.number(1, "I")
            demand(index < count, f"metadata {table.text(0)!r} is in buffer {index} of {count}")
            yield table.text(0), self._buffers[index]
