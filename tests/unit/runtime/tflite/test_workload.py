"""What a model's operators do, counted from the shapes in its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import ModelFileError
from runtime.diagnostics import TINY_MODEL
from runtime.tflite.operands import multiply_adds
from runtime.tflite.workload import read_workload
from tests.support import slots
from tests.support.external_models import converted

Shape = tuple[int, ...]
#: Flatten, then Dense(2) with a softmax, of 2 x 2 grey pixels.
TWO_LABELS = Path(slots.__file__).with_name("two_labels.tflite").read_bytes()


def test_a_dense_network_operator_by_operator() -> None:
    work = read_workload(TWO_LABELS)
    flatten, dense, softmax = work.operators
    assert [one.name for one in work.operators] == ["RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    assert (dense.inputs, dense.outputs, dense.type) == (((1, 4), (2, 4), (2,)), ((1, 2),), "FLOAT32")
    assert (dense.multiply_adds, dense.bytes_read, dense.bytes_written, dense.weight_bytes) == (8, 16, 8, 40)
    assert (flatten.multiply_adds, flatten.bytes_read, flatten.weight_bytes) == (0, 16, 8)
    assert (softmax.multiply_adds, softmax.bytes_read, softmax.bytes_written) == (0, 8, 8)
    assert work.multiply_adds == 8
    assert work.weight_bytes == 4 * (2 * 4 + 2) + 4 * 2
    assert flatten.reads[0] == work.inputs[0]
    assert softmax.writes == work.outputs
    assert flatten.writes == dense.reads[:1]


@pytest.mark.parametrize(("kind", "size"), [("int8", 1), ("float32", 4)])
def test_a_convolution_counts_each_position_of_its_window(kind: str, size: int) -> None:
    work = read_workload(converted(kind))
    convolution = work.operators[0]
    assert convolution.multiply_adds == 6 * 6 * 4 * (3 * 3 * 3)
    assert convolution.bytes_read == 8 * 8 * 3 * size
    assert convolution.bytes_written == 6 * 6 * 4 * size
    assert convolution.weight_bytes == 4 * 3 * 3 * 3 * size + 4 * 4  # a bias has 32 bits
    assert work.multiply_adds == 6 * 6 * 4 * 27 + 4 * 3


@pytest.mark.parametrize(
    ("name", "inputs", "output", "expected"),
    [
        ("CONV_2D", [(1, 9, 9, 6), (8, 3, 3, 3), (8,)], (1, 7, 7, 8), 7 * 7 * 8 * 27),  # two groups
        ("DEPTHWISE_CONV_2D", [(1, 9, 9, 6), (1, 3, 5, 6), None], (1, 7, 5, 6), 7 * 5 * 6 * 15),
        ("FULLY_CONNECTED", [(2, 10), (3, 10), None], (2, 3), 60),
        ("BATCH_MATMUL", [(5, 2, 7), (5, 7, 3)], (5, 2, 3), 5 * 2 * 7 * 3),
        ("BATCH_MATMUL", [(5, 7, 2), (5, 7, 3)], (5, 2, 3), 5 * 2 * 7 * 3),  # the first one transposed
        ("TRANSPOSE_CONV", [(4,), (8, 3, 3, 6), (1, 5, 5, 6)], (1, 11, 11, 8), 5 * 5 * 6 * 8 * 9),
        ("SOFTMAX", [(1, 10)], (1, 10), 0),
        ("CONV_2D", [None, None], (1, 2), 0),
        ("BATCH_MATMUL", [(3,), (3,)], (), 0),
        ("BATCH_MATMUL", [(0, 3), (3, 2)], (0, 2), 0),
    ],
)
def test_multiplications_follow_from_shapes(
    name: str, inputs: list[Shape | None], output: Shape, expected: int
) -> None:
    assert multiply_adds(name, inputs, output) == expected


def test_a_damaged_model_is_refused() -> None:
    with pytest.raises(ModelFileError, match=r"^half\.tflite: damaged"):
        read_workload(TINY_MODEL.read_bytes()[:200], "half.tflite")
