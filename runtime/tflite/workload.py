"""What a model makes a device do: the multiplications, and the bytes read and written, of each of its operators.

All of it follows from the shapes in the file. It says nothing about time: that depends on the device.
"""

from __future__ import annotations

from typing import NamedTuple

from .graph import GraphTensor, OperatorUse, tensor_bytes
from .model import main_graph
from .operands import multiply_adds
from .reader import Table


class OperatorWork(NamedTuple):
    """What one operator does in one call.

    Attributes:
        name: the built-in operator's name; for a custom operator its own.
        type: the type of its first output, such as "INT8".
        reads, writes: the tensors that it reads and writes, by number; inputs that are left out are not listed.
        inputs, outputs: their shapes.
        multiply_adds: the multiplications, each with an addition; 0 for operators that sum no products.
        bytes_read: the bytes of the inputs that are computed or given.
        bytes_written: the bytes of the outputs.
        weight_bytes: the bytes of the inputs that are constants in the file.
    """

    name: str
    type: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    multiply_adds: int
    bytes_read: int
    bytes_written: int
    weight_bytes: int


class Workload(NamedTuple):
    """What a model does in one call.

    Attributes:
        operators: its operators, in the order in which they run.
        tensors: the model's tensors, which the numbers in `operators` count from 0.
        inputs, outputs: the numbers of the tensors that are given, and of those that are the answer.
        weight_bytes: the bytes of all constants; what several tensors share counts once.
    """

    operators: tuple[OperatorWork, ...]
    tensors: tuple[GraphTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    weight_bytes: int

    @property
    def multiply_adds(self) -> int:
        """The multiplications of all operators together."""
        return sum(one.multiply_adds for one in self.operators)


def read_workload(content: bytes, name: str = "model") -> Workload:
    """What a model does in one call, from the shapes in its file.

    Only the first subgraph counts, and lengths that may vary have the value in the file: what a model with
    `Structure.unbounded` does is not known from its file.

    Args:
        content: the model file; an archive may follow the FlatBuffer.
        name: the file's name, for messages.

    Raises:
        ModelFileError: not a TensorFlow Lite model, or a damaged one.
    """
    graph = main_graph(content, name)
    constants = {place for place in graph.buffers if place[1] > place[0]}
    return Workload(
        operators=tuple(
            _work(graph.codes[table.number(0, "I")], table, graph.tensors) for table in graph.table.tables(3)
        ),
        tensors=tuple(graph.tensors),
        inputs=graph.table.numbers(1, "i"),
        outputs=graph.table.numbers(2, "i"),
        weight_bytes=sum(end - begin for begin, end in constants),
    )


def split_constant_work(work: Workload) -> tuple[tuple[OperatorWork, ...], Workload]:
    """The operators that read constants alone, and the model without them, in which their results count as weights.

    Interpreters compute these once, when they load a model: the DEQUANTIZE operators of float16 weights are such.
    """
    fixed = {index for index, tensor in enumerate(work.tensors) if tensor.constant}
    computed: set[int] = set()
    once, others = [], []
    for operator in work.operators:
        if operator.reads and fixed.issuperset(operator.reads):
            fixed.update(operator.writes)
            computed.update(operator.writes)
            once.append(operator)
            continue
        kept = sum(bytes_of(work.tensors[index]) for index in computed.intersection(operator.reads))
        read, weights = operator.bytes_read - kept, operator.weight_bytes + kept
        others.append(operator._replace(bytes_read=read, weight_bytes=weights))
    return tuple(once), work._replace(operators=tuple(others))


def bytes_of(tensor: GraphTensor) -> int:
    """The bytes of a tensor; 0 for strings and others whose elements have no fixed size."""
    return tensor_bytes(tensor.info.type, tensor.info.shape) or 0


def _work(use: OperatorUse, table: Table, tensors: list[GraphTensor]) -> OperatorWork:
    places, writes = table.numbers(1, "i"), table.numbers(2, "i")
    reads = tuple(index for index in places if index >= 0)
    shapes = [tensors[index].info.shape if index >= 0 else None for index in places]
    outputs = tuple(tensors[index].info.shape for index in writes)
    return OperatorWork(
        name=use.custom or use.name,
        type=tensors[writes[0]].info.type if writes else "",
        reads=reads,
        writes=writes,
        inputs=tuple(shape for shape in shapes if shape is not None),
        outputs=outputs,
        multiply_adds=multiply_adds(use.name, shapes, outputs[0]) if outputs else 0,
        bytes_read=sum(bytes_of(tensors[index]) for index in reads if not tensors[index].constant),
        bytes_written=sum(bytes_of(tensors[index]) for index in writes),
        weight_bytes=sum(bytes_of(tensors[index]) for index in reads if tensors[index].constant),
    )
