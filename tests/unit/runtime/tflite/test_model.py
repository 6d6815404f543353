"""The structure of a model file, checked without an interpreter."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import ModelFileError
from runtime.diagnostics import TINY_MODEL
from runtime.interpreter import installed, version_of
from runtime.tflite import _schema as schema
from runtime.tflite._operator_versions import MEASURED, known, unknown_to
from runtime.tflite._schema import OPERATORS, TENSOR_TYPES
from runtime.tflite.graph import OperatorUse
from runtime.tflite.model import check_structure, operators
from runtime.tflite.verifier import FlatBufferError, Schema, verify_flatbuffer
from tests.support.external_models import changed, converted

TINY = TINY_MODEL.read_bytes()


@pytest.mark.workstation
def test_the_schema_is_tensorflows() -> None:
    from tools import tflite_schema as schema_tool

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        schema_tool.main()
    assert printed.getvalue() == Path(schema.__file__).read_text(encoding="utf-8")


def test_what_a_model_is_made_of() -> None:
    found = check_structure(converted("int8"))
    assert [use.name for use in found.operators] == ["CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    assert all(OPERATORS[use.code] == use.name and use.version >= 1 for use in found.operators)
    (given,), (answer,) = found.inputs, found.outputs
    assert (given.shape, given.signature, given.type) == ((1, 8, 8, 3), (1, 8, 8, 3), "INT8")
    assert given.scale == pytest.approx([2 / 255], rel=1e-3)
    assert (answer.shape, answer.type, answer.scale, answer.zero_point) == ((1, 3), "INT8", (1 / 256,), (-128,))
    assert found.ending.operator == "SOFTMAX"
    assert found.end == len(converted("int8"))
    begin, end = found.metadata["min_runtime_version"]
    assert converted("int8")[begin:end].rstrip(b"\0").split(b".")[0].isdigit()


def test_what_follows_the_flatbuffer_is_no_part_of_it() -> None:
    assert check_structure(TINY + b"PK and more") == check_structure(TINY)


def test_every_truncation_is_refused() -> None:
    for length in range(len(TINY)):
        with pytest.raises(ModelFileError, match="tiny"):
            check_structure(TINY[:length], "tiny")


def main_graph(model: Any) -> Any:
    return model.subgraphs[0]


def first(model: Any, code: str) -> Any:
    """The index of the first operator of a kind."""
    wanted = [i for i, c in enumerate(model.operatorCodes) if c.builtinCode == OPERATORS.index(code)]
    return next(op for op in main_graph(model).operators if op.opcodeIndex in wanted)


def set_shape(model: Any) -> None:
    tensor = main_graph(model).tensors[first(model, "FULLY_CONNECTED").inputs[1]]
    tensor.shape = [n + 1 for n in tensor.shape]


def set_outside(model: Any) -> None:
    model.buffers[2].offset, model.buffers[2].size = 5, 10**9


DAMAGE: dict[str, Callable[[Any], object]] = {
    "has no subgraph": lambda m: setattr(m, "subgraphs", []),
    "has no buffers": lambda m: setattr(m, "buffers", []),
    "schema has version 4": lambda m: setattr(m, "version", 4),
    "is in buffer 99 of": lambda m: setattr(main_graph(m).tensors[0], "buffer", 99),
    "has the shape": lambda m: setattr(main_graph(m).tensors[0], "shape", [1, -2, 8, 3]),
    "and the signature": lambda m: setattr(main_graph(m).tensors[0], "shapeSignature", [1, 9, 8, 3]),
    "has 9 dimensions": lambda m: setattr(main_graph(m).tensors[0], "shape", [1] * 9),
    "needs 65,536,000,000 bytes": lambda m: setattr(main_graph(m).tensors[0], "shape", [1, 4000, 4096000, 1]),
    "its buffer has": set_shape,
    "reads tensor 99 of": lambda m: setattr(first(m, "CONV_2D"), "inputs", [0, 99, 1]),
    "writes tensor -1 of": lambda m: setattr(first(m, "CONV_2D"), "outputs", [-1]),
    "which is a constant, an input or written": lambda m: setattr(first(m, "CONV_2D"), "outputs", [0]),
    "which nothing has written": lambda m: main_graph(m).operators.reverse(),
    "an input or output is tensor 99": lambda m: setattr(main_graph(m), "outputs", [99]),
    "is written by nothing": lambda m: main_graph(m).operators.pop(),
    "has the code 99 of": lambda m: setattr(first(m, "CONV_2D"), "opcodeIndex", 99),
    "needs operator 9999": lambda m: setattr(m.operatorCodes[0], "builtinCode", 9999),
    "version 0": lambda m: setattr(m.operatorCodes[0], "version", 0),
    "metadata is in buffer 99": lambda m: setattr(m, "metadataBuffer", [99]),
    "metadata 'min_runtime_version' is in buffer": lambda m: setattr(m.metadata[0], "buffer", 99),
    "signature is of subgraph 7": lambda m: setattr(m.signatureDefs[0], "subgraphIndex", 7),
    "signature names tensor 99": lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 99),
    "ends outside the file": set_outside,
}


@pytest.mark.parametrize("message", DAMAGE)
def test_a_graph_that_does_not_hang_together_is_refused(message: str) -> None:
    content = changed(converted(), DAMAGE[message])
    with pytest.raises(ModelFileError, match=message) as caught:
        check_structure(content, "m.tflite")
    assert str(caught.value).startswith("m.tflite: damaged")
    assert str(caught.value).endswith("copy it again")


def test_a_scale_must_be_a_number_and_fit_its_axis() -> None:
    def scales(values: list[float]) -> bytes:
        def change(model: Any) -> None:
            quantization = main_graph(model).tensors[main_graph(model).inputs[0]].quantization
            quantization.scale, quantization.zeroPoint = values, [0] * len(values)

        return changed(converted("int8"), change)

    assert check_structure(scales([0.5])).inputs[0].scale == (0.5,)
    for values in ([float("nan")], [-1.0], [0.5, 0.5]):
        with pytest.raises(ModelFileError, match="scale"):
            check_structure(scales(values))


def test_weights_behind_the_flatbuffer_are_found_and_bounded() -> None:
    plain = changed(converted(), lambda m: None)

    def outside(offset: int) -> bytes:
        def change(model: Any) -> None:
            index = main_graph(model).tensors[first(model, "FULLY_CONNECTED").inputs[1]].buffer
            size = len(model.buffers[index].data)
            model.buffers[index].data = None
            model.buffers[index].offset, model.buffers[index].size = offset, size

        return changed(plain, change)

    size = len(outside(2))
    weights = bytes(3 * 4 * 4)
    assert check_structure(outside(size) + weights).end == size + len(weights)
    with pytest.raises(ModelFileError, match="outside the file"):
        check_structure(outside(size) + weights[:-1])


def test_parts_that_are_shared_without_end_are_refused() -> None:
    # 200 tables, each with a vector of 200 references to the next: 200 to the 200th paths.
    schema = Schema(b"TEST", "Node", {"Node": "vtNode"}, {})
    content = bytearray(struct.pack("<I4sHHHH", 16, b"TEST", 6, 8, 4, 0))
    for _ in range(200):
        content += struct.pack("<iI", len(content) - 8, 4) + struct.pack("<I", 200)
        end = len(content) + 4 * 200
        content += b"".join(struct.pack("<I", end - (len(content) + 4 * i)) for i in range(200))
    content += struct.pack("<iI", len(content) - 8, 4) + struct.pack("<I", 0)
    with pytest.raises(FlatBufferError, match="too often"):
        verify_flatbuffer(bytes(content), schema)


def test_random_bytes_are_refused() -> None:
    rng = np.random.default_rng(0)
    for length in rng.integers(0, 4000, 500):
        with pytest.raises(ModelFileError):
            check_structure(b"\x1c\0\0\0TFL3" + rng.bytes(int(length)))


@pytest.mark.workstation
def test_types_and_operators_have_tensorflows_numbers() -> None:
    from tensorflow.lite.python import schema_py_generated as schema

    assert all(getattr(schema.BuiltinOperator, name) == number for number, name in enumerate(OPERATORS))
    assert all(getattr(schema.TensorType, name) == number for number, name in enumerate(TENSOR_TYPES))


def test_operators_of_a_custom_kind_have_their_name() -> None:
    def change(model: Any) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = OPERATORS.index("CUSTOM")
        code.customCode = b"edgetpu-custom-op"

    use = operators(changed(converted(), change))[0]
    assert (use.name, use.custom, str(use)) == ("CUSTOM", "edgetpu-custom-op", "custom operator edgetpu-custom-op")
    assert unknown_to("ai_edge_litert", [use]) == [(use, 0)]


@pytest.mark.parametrize("library", installed())
@pytest.mark.parametrize("name", ["CONV_2D", "FULLY_CONNECTED", "LOG", "BROADCAST_TO", "STABLEHLO_ADD", "SOFTMAX"])
@pytest.mark.workstation
def test_the_table_of_versions_is_what_the_interpreter_says(library: str, name: str) -> None:
    from tools import operator_versions as versions_tool

    code, versions = OPERATORS.index(name), known(library).get(name, range(1, 1))
    for version in range(1, 20):
        accepted = versions_tool.accepts(library, code, version)
        assert accepted if version in versions else not (accepted and version_of(library) == MEASURED[library])


def test_an_operator_too_new_is_named_with_what_is_known() -> None:
    uses = [OperatorUse("FULLY_CONNECTED", 12, 9), OperatorUse("SOFTMAX", 2, 25), OperatorUse("BROADCAST_TO", 1, 130)]
    assert unknown_to("tflite_runtime", uses) == [(uses[0], 10), (uses[2], 3)]
    assert unknown_to("ai_edge_litert", uses) == [(uses[2], 3)]
