"""How many bytes the tensors of a model take while it runs, its weights apart.

A tensor needs memory from the operator that writes it to the last one that reads it, and others take its place then.
Source of the order and of the choice of places: `arena_planner.cc` and `simple_memory_arena.cc` of TensorFlow Lite,
which both interpreters use: tensors that live as long as the call first, then the largest first, each in the smallest
gap that is large enough, aligned to 64 bytes.

Weights that are dequantized when the model is loaded are no tensors of a call: XNNPACK, which interpreters use for
floats, keeps them elsewhere.

Beside the tensors, a quantized convolution of TensorFlow Lite's own kernels needs a copy of its windows (`im2col` in
`conv.cc`). What an interpreter takes beyond these is not here: its code and bookkeeping, and, for floats, XNNPACK's
copies of the weights and its tables of places. Nor are the copies that dynamic-range quantization makes of floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .workload import OperatorWork, Workload, bytes_of, split_constant_work

_ALIGNMENT = 64
#: The bytes of an element of the types of which convolutions copy each window into a row before they multiply.
#: Those of floats are XNNPACK's, which does not.
_COPIED_WINDOWS = {"INT8": 1, "UINT8": 1, "INT16": 2}


class Lifetime(NamedTuple):
    """A block of memory, and the operators between which it is needed.

    Attributes:
        size: its bytes.
        first, last: the numbers of the operators that need it first and last, both included.
    """

    size: int
    first: int
    last: int


def arena_bytes(work: Workload, *, copies_windows: bool = True) -> int:
    """The bytes of the memory that a model's tensors share, at the most; constants are not among them.

    Args:
        work: from `workload.read_workload`.
        copies_windows: whether quantized convolutions copy their windows; XNNPACK's do not.
    """
    _, called = split_constant_work(work)
    return planned_bytes(lifetimes(called, copies_windows=copies_windows))


def lifetimes(work: Workload, *, copies_windows: bool = True) -> list[Lifetime]:
    """Each tensor that is no constant, and what kernels need beside them, in the order of the file.

    `copies_windows` is as for `arena_bytes`. What is given, the answer and variables live as long as the call: they
    are read and written between calls.
    """
    end = len(work.operators)  # after the last operator: never given back
    variables = [index for index, tensor in enumerate(work.tensors) if tensor.variable]
    first = dict.fromkeys((*work.inputs, *variables), 0)
    last = {}
    for number, operator in enumerate(work.operators):
        first.update(dict.fromkeys(operator.writes, number))
        last.update(dict.fromkeys(operator.reads, number))
    last.update(dict.fromkeys((*work.inputs, *work.outputs, *variables), end))
    blocks = [
        Lifetime(bytes_of(work.tensors[index]), start, last.get(index, end))
        for index, start in sorted(first.items())
        if not work.tensors[index].constant
    ]
    if not copies_windows:
        return blocks
    return blocks + [Lifetime(_window_bytes(one), number, number) for number, one in enumerate(work.operators)]


def planned_bytes(blocks: Sequence[Lifetime]) -> int:
    """The bytes that blocks take together where TensorFlow Lite's planner places them."""
    end = max((block.last for block in blocks), default=0)
    whole = [block for block in blocks if (block.first, block.last) == (0, end)]
    others = [block for block in blocks if (block.first, block.last) != (0, end)]
    others.sort(key=lambda block: (-block.size, block.first))
    placed: list[tuple[int, Lifetime]] = []  # in the order of their places
    for block in (*whole, *others):
        if block.size:
            place = _place(block, placed)
            placed.append((place, block))
            placed.sort(key=lambda entry: entry[0])
    return max((place + block.size for place, block in placed), default=0)


def _place(block: Lifetime, placed: Sequence[tuple[int, Lifetime]]) -> int:
    """The smallest gap for a block among those that are needed at the same time, else the place behind them."""
    best, slack, reached = -1, -1, 0
    for begin, other in placed:
        if other.last < block.first or other.first > block.last:
            continue
        aligned = _aligned(reached)
        if aligned + block.size <= begin and (best < 0 or begin - aligned < slack):
            best, slack = aligned, begin - reached
        reached = max(reached, begin + other.size)
    return best if best >= 0 else _aligned(reached)


def _aligned(place: int) -> int:
    return -(-place // _ALIGNMENT) * _ALIGNMENT


def _window_bytes(operator: OperatorWork) -> int:
    """The bytes that a quantized convolution copies its windows to; windows of one pixel need no copy."""
    if operator.name != "CONV_2D" or operator.type not in _COPIED_WINDOWS or len(operator.inputs) < 2:
        return 0
    given, weights = operator.inputs[:2]
    if math.prod(weights[1:3]) == 1 and given[:3] == operator.outputs[0][:3]:
        return 0
    return math.prod(operator.outputs[0][:3]) * math.prod(weights[1:]) * _COPIED_WINDOWS[operator.type]
