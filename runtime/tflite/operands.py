"""Tensors and operators as the rules of `operator_rules` see them, with what these compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .reader import Table

_SAME, _VALID = 0, 1
_LOWEST = {"INT8": -128, "UINT8": 0, "INT16": 0}
_HIGHEST = {"INT8": 127, "UINT8": 255, "INT16": 0}
#: The longest side of a window, and what it may reach beyond a picture.
_MOST_SIDE, _MOST_BEYOND = 2**12, 2**6


class Operand(NamedTuple):
    """A tensor, as an operator reads or writes it.

    Attributes:
        type, shape: of the tensor.
        scale, zero_point, axis: its quantization.
        constant: whether its values are in the file.
        fixed: whether its values are the same in each call: a constant, or one that was dequantized.
        integers: the values of a short constant of type INT32; none for others.
    """

    type: str
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    constant: bool
    fixed: bool
    integers: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


class Node(NamedTuple):
    """An operator.

    Attributes:
        inputs: what it reads; None for an input that is left out.
        output: what it writes.
        options: its options; None without any.
    """

    inputs: list[Operand | None]
    output: Operand
    options: Table | None

    def present(self, count: int) -> list[Operand]:
        """The inputs, if there are so many and none is left out; else an empty list."""
        found = [one for one in self.inputs if one is not None]
        return found if len(found) == count == len(self.inputs) else []

    def integer(self, slot: int, default: int = 0) -> int:
        """A field of the options of four bytes."""
        return int(self.options.number(slot, "i", default)) if self.options else default

    def byte(self, slot: int, default: int = 0) -> int:
        """A field of the options of one byte."""
        return int(self.options.number(slot, "b", default)) if self.options else default


def multiply_adds(name: str, inputs: Sequence[tuple[int, ...] | None], output: tuple[int, ...]) -> int:
    """The multiplications, each with an addition, of an operator that sums products; 0 for all others.

    Args:
        name: the operator.
        inputs: the shapes of its inputs; None for an input that is left out.
        output: the shape of its output.
    """
    given, weights, spread = (*inputs, None, None, None)[:3]
    if given is None or weights is None:
        return 0
    if name == "DEPTHWISE_CONV_2D":
        return math.prod(output) * math.prod(weights[1:3])
    if name in ("CONV_2D", "FULLY_CONNECTED"):
        return math.prod(output) * math.prod(weights[1:])
    if name == "BATCH_MATMUL" and len(output) > 1:
        # The first input has a row for each row of the output: the rest is the length of each sum.
        return math.prod(output) * math.prod(given) // max(1, math.prod(given[:-2]) * output[-2])
    if name == "TRANSPOSE_CONV" and spread is not None:  # each value of the third input is spread over a window
        return math.prod(spread) * math.prod(weights[:3])
    return 0


def family(*tensors: Operand) -> str:
    """The type that activations share, if their quantization is that of the type; else ""."""
    kind = tensors[0].type
    if any(tensor.type != kind for tensor in tensors):
        return ""
    if kind == "FLOAT32":
        return "" if any(tensor.scale for tensor in tensors) else kind
    return kind if kind in ("INT8", "INT16") and all(map(is_quantized, tensors)) else ""


def is_quantized(tensor: Operand) -> bool:
    """Whether it has one positive scale, and a zero point that its type can store."""
    if tensor.type not in _LOWEST or len(tensor.scale) != 1 or not 2**-40 < tensor.scale[0] < 2**40:
        return False
    return len(tensor.zero_point) == 1 and _LOWEST[tensor.type] <= tensor.zero_point[0] <= _HIGHEST[tensor.type]


def between(low: float, ratio: float, high: float) -> bool:
    return 2**low <= ratio <= 2**high


def scale_ratio(one: Operand, other: Operand) -> float:
    return one.scale[0] / other.scale[0]


def same_quantization(one: Operand, other: Operand) -> bool:
    return one.scale == other.scale and one.zero_point == other.zero_point


def broadcast(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...] | None:
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + tuple(one), (1,) * (rank - len(other)) + tuple(other), strict=True)
    shape = tuple(max(pair) if 1 in pair or pair[0] == pair[1] else 0 for pair in pairs)
    return None if 0 in shape else shape


def fits_window(
    given: Operand, answer: Operand, kernel: tuple[int, int], stride: tuple[int, int], more: tuple[int, int], pad: int
) -> bool:
    """Whether a window of (rows, columns) over pictures gives pictures of the answer's size."""
    if (
        len(given.shape) != 4
        or len(answer.shape) != 4
        or given.shape[0] != answer.shape[0]
        or pad not in (_SAME, _VALID)
    ):
        return False
    for size, found, length, step, spread in zip(
        given.shape[1:3], answer.shape[1:3], kernel, stride, more, strict=True
    ):
        span = (length - 1) * spread + 1
        # Padding adds less than a window to each side.
        if min(length, step, spread) < 1 or max(length, step, spread) > _MOST_SIDE or span > 2 * size + _MOST_BEYOND:
            return False
        if found != -(-(size if pad == _SAME else size - span + 1) // step):
            return False
    return True
