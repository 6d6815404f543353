"""The memory that a model's tensors share: planned as TensorFlow Lite plans it, and held against what it allocates."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from runtime.diagnostics import TINY_MODEL
from runtime.interpreter import is_installed
from runtime.tflite.arena import Lifetime, arena_bytes, planned_bytes
from runtime.tflite.graph import GraphTensor, TensorInfo
from runtime.tflite.workload import OperatorWork, Workload, read_workload
from tests.support.external_models import converted

Shape = tuple[int, ...]
#: Prints the bytes that an interpreter allocates for its tensors; the first model warms the library.
ALLOCATED = """
import ctypes, sys
from pathlib import Path
from tflite_runtime.interpreter import Interpreter

class Mallinfo(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Mallinfo
for path in sys.argv[1:]:
    interpreter = Interpreter(model_content=Path(path).read_bytes(), num_threads=1)
    before = library.mallinfo2()
    interpreter.allocate_tensors()
    after = library.mallinfo2()
    print(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd)
"""


def tensor(kind: str, shape: Shape, constant: bool = False, variable: bool = False) -> GraphTensor:
    return GraphTensor(TensorInfo("", shape, shape, kind, (), ()), constant, variable)


def chain(*tensors: GraphTensor, name: str = "RELU") -> Workload:
    """Operators in a row: each reads a tensor and writes the next one."""
    operators = [
        OperatorWork(
            name, after.info.type, (number,), (number + 1,), (before.info.shape,), (after.info.shape,), 0, 0, 0, 0
        )
        for number, (before, after) in enumerate(pairwise(tensors))
    ]
    return Workload(tuple(operators), tensors, (0,), (len(tensors) - 1,), 0)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([], 0),
        ([(100, 0, 0)], 100),
        ([(100, 0, 0), (100, 1, 1)], 100),  # one after the other
        ([(100, 0, 1), (100, 1, 1)], 128 + 100),  # at the same time, aligned to 64
        ([(64, 0, 1), (640, 1, 2), (64, 2, 3)], 640 + 64),  # the largest first; the others take turns behind it
        ([(0, 0, 5), (10, 0, 5)], 10),
        # The gap that the second leaves behind the first is the smallest that holds the last.
        ([(640, 0, 2), (320, 0, 0), (256, 0, 2), (128, 2, 2)], 640 + 320 + 256),
    ],
)
def test_blocks_share_places(blocks: list[tuple[int, int, int]], expected: int) -> None:
    assert planned_bytes([Lifetime(*block) for block in blocks]) == expected


def test_what_is_given_and_the_answers_are_never_overwritten() -> None:
    work = chain(*(tensor("UINT8", (size,)) for size in (6400, 64, 6400)))
    assert arena_bytes(work) == 6400 + 64 + 6400
    work = chain(*(tensor("UINT8", (size,)) for size in (64, 6400, 64, 6400)))
    assert arena_bytes(work) == 64 + 6400 + 64
    assert arena_bytes(work._replace(outputs=(1, 3))) == 64 + 6400 + 64 + 6400


def test_constants_take_none_of_it_and_variables_all_the_time() -> None:
    work = chain(*(tensor("FLOAT32", (1, 16)) for _ in range(3)))
    more = work._replace(tensors=(*work.tensors, tensor("FLOAT32", (1000,), constant=True)))
    assert arena_bytes(more) == arena_bytes(work) == 3 * 64
    more = work._replace(tensors=(*work.tensors, tensor("FLOAT32", (1000,), variable=True)))
    assert arena_bytes(more) == 64 + 4032 + 2 * 64  # 4,000 aligned


@pytest.mark.parametrize(
    ("kind", "window", "extra"),
    [("INT8", 3, 8 * 8 * 4 * 9), ("INT16", 3, 2 * 8 * 8 * 4 * 9), ("FLOAT32", 3, 0), ("INT8", 1, 0)],
)
def test_quantized_convolutions_copy_their_windows(kind: str, window: int, extra: int) -> None:
    shape = (1, 8, 8, 4)
    weights = (4, window, window, 4)
    operator = OperatorWork("CONV_2D", kind, (0, 2), (1,), (shape, weights), (shape,), 0, 0, 0, 0)
    tensors = (tensor(kind, shape), tensor(kind, shape), tensor(kind, weights, constant=True))
    size = {"INT8": 1, "INT16": 2, "FLOAT32": 4}[kind]
    assert arena_bytes(Workload((operator,), tensors, (0,), (1,), 0)) == 2 * 8 * 8 * 4 * size + extra


def test_a_model_without_operators() -> None:
    given = tensor("FLOAT32", (2, 3))
    assert arena_bytes(Workload((), (given,), (0,), (0,), 0)) == 24


def test_a_dense_model() -> None:
    # Four tensors: 2 floats in, 2 out of the dense layer, 2 out of the softmax.
    assert arena_bytes(read_workload(TINY_MODEL.read_bytes())) <= 3 * 64


@pytest.mark.workstation
@pytest.mark.skipif(not is_installed("tflite_runtime"), reason="tflite-runtime is not installed")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this C library has no mallinfo2")
def test_the_interpreter_allocates_about_as_much(tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    path.write_bytes(converted("int8", shape=(96, 96, 3)))
    arguments = [sys.executable, "-c", ALLOCATED, str(TINY_MODEL), str(path)]
    printed = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60).stdout
    measured = int(printed.split()[-1])
    assert arena_bytes(read_workload(path.read_bytes())) == pytest.approx(measured, rel=0.1, abs=0)
