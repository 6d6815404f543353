"""Tells which models need no trial: those whose operators are all of kinds that `operator_rules` knows as a whole."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from .graph import GraphTensor, OperatorUse
from .operands import Node, Operand, multiply_adds
from .operator_rules import is_plain
from .reader import Table

#: Multiplications and bytes of a model that is not tried: several times those of the largest usual classifier.
_MOST_WORK, _MOST_BYTES = 2**34, 2**29
_BYTES = {"INT8": 1, "UINT8": 1, "INT16": 2, "FLOAT16": 2}
_LARGEST_ELEMENT = 8
#: What the converter aligns constants to, at least.
_ALIGNMENT = 4
#: Values of a constant that rules read: lengths, axes and margins.
_SHORT = 64
#: Fields of an operator beyond code, inputs, outputs and options: only strange ones have them.
_STRANGE_FIELDS = (5, 7, 8, 9, 10, 11, 12)


def strange_part(
    content: bytes,
    graphs: Sequence[Table],
    tensors: Sequence[GraphTensor],
    codes: Sequence[OperatorUse],
    buffers: Sequence[tuple[int, int]],
) -> str:
    """What of a model is of no known kind, so that it must be tried before it is trusted; "" if nothing is.

    Args:
        content: the model file.
        graphs: its subgraphs.
        tensors: those of the first subgraph.
        codes: the model's operators.
        buffers: where the content of each buffer begins and ends.
    """
    if len(graphs) != 1:
        return f"it has {len(graphs)} subgraphs"
    tables, operators = graphs[0].tables(0), graphs[0].tables(3)
    operands = []
    for table, tensor in zip(tables, tensors, strict=True):
        operand = _operand(content, table, tensor, buffers)
        if operand is None:
            return f"tensor {tensor.info.name!r} is of an unusual kind"
        operands.append(operand)
    if any(tensors[index].constant for index in graphs[0].numbers(1, "i")):
        return "an input is a constant"
    work = 0
    for table in operators:
        use, outputs = codes[table.number(0, "I")], table.numbers(2, "i")
        if len(outputs) != 1 or any(table.has(slot) for slot in _STRANGE_FIELDS):
            return f"{use.name} has more than inputs, an output and options"
        inputs = [operands[index] if index >= 0 else None for index in table.numbers(1, "i")]
        node = Node(inputs, operands[outputs[0]], table.table(4))
        if not is_plain(use.name, table.number(3, "B"), node):
            return f"{use.name} is of an unusual kind"
        if use.name == "DEQUANTIZE" and all(one is not None and one.fixed for one in inputs):
            operands[outputs[0]] = node.output._replace(fixed=True)
        work += _work(use.name, node)
    size = sum(_BYTES.get(one.type, _LARGEST_ELEMENT) * one.size for one in operands)
    if work > _MOST_WORK or size > _MOST_BYTES:
        return f"it takes {work:,} multiplications and {size:,} bytes"
    return ""


def _operand(content: bytes, table: Table, tensor: GraphTensor, buffers: Sequence[tuple[int, int]]) -> Operand | None:
    """A tensor as the rules see it; None if it is of a kind that no rule knows."""
    info, quantization = tensor.info, table.table(4)
    sparse, other_quantization = table.has(6), quantization is not None and quantization.has(5)
    if tensor.variable or sparse or other_quantization or table.has(9) or info.signature != info.shape:
        return None
    begin, end = buffers[table.number(2, "I")]
    element = (end - begin) // math.prod(info.shape) if end > begin and 0 not in info.shape else 1
    if begin % max(1, min(element, _ALIGNMENT)):  # a kernel may read whole elements
        return None
    axis = quantization.number(6, "i") if quantization is not None else 0
    count, integers = (end - begin) // 4, ()
    if info.type == "INT32" and count <= _SHORT:
        integers = struct.unpack_from(f"<{count}i", content, begin)
    constant = end > begin
    return Operand(info.type, info.shape, info.scale, info.zero_point, axis, constant, constant, integers)


def _work(name: str, node: Node) -> int:
    """How many multiplications an operator takes, about."""
    return multiply_adds(name, [one and one.shape for one in node.inputs], node.output.shape) or node.output.size
