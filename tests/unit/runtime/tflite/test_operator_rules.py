"""Which models need no trial: those of `pocketlens export`, and none with an operator of an unusual kind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runtime.tflite._schema import OPERATORS
from runtime.tflite.model import check_structure
from tests.support.exports import Exported
from tests.support.external_models import changed, converted


def test_our_exports_are_plain(digits_export: Exported) -> None:
    for path in (digits_export.int8, digits_export.float32):
        structure = check_structure(path.read_bytes())
        assert (structure.strange, structure.unbounded) == ("", "")


@pytest.mark.parametrize("kind", ["float32", "int8", "uint8"])
def test_small_classifiers_of_each_type_are_plain(kind: str) -> None:
    assert check_structure(converted(kind)).strange == ""


def operator(model: Any, name: str) -> Any:
    """The first operator of a kind."""
    wanted = [i for i, code in enumerate(model.operatorCodes) if code.builtinCode == OPERATORS.index(name)]
    return next(op for op in model.subgraphs[0].operators if op.opcodeIndex in wanted)


def options(name: str, **values: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for key, value in values.items():
            setattr(operator(model, name).builtinOptions, key, value)

    return change


def tensor_of(name: str, place: int, **values: Any) -> Callable[[Any], None]:
    """Change a tensor: the input of an operator at a place, or its output at place -1."""

    def change(model: Any) -> None:
        found = operator(model, name)
        tensor = model.subgraphs[0].tensors[found.outputs[0] if place < 0 else found.inputs[place]]
        for key, value in values.items():
            setattr(tensor if hasattr(tensor, key) else tensor.quantization, key, value)

    return change


def without_options(model: Any) -> None:
    operator(model, "CONV_2D").builtinOptions, operator(model, "CONV_2D").builtinOptionsType = None, 0


def other_options(model: Any) -> None:
    conv, softmax = operator(model, "CONV_2D"), operator(model, "SOFTMAX")
    conv.builtinOptions, conv.builtinOptionsType = softmax.builtinOptions, softmax.builtinOptionsType


def custom_options(model: Any) -> None:
    operator(model, "CONV_2D").customOptions = [1, 2, 3]


def two_subgraphs(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


def constant_input(model: Any) -> None:
    given = model.subgraphs[0].tensors[operator(model, "CONV_2D").inputs[0]]
    holder = copy.copy(model.buffers[0])
    holder.data = np.zeros(8 * 8 * 3, np.uint8)
    model.buffers.append(holder)
    given.buffer = len(model.buffers) - 1


STRANGE: dict[str, Callable[[Any], None]] = {
    "a stride of 0": options("CONV_2D", strideW=0),
    "a negative stride": options("CONV_2D", strideH=-1),
    "a dilation of 0": options("CONV_2D", dilationHFactor=0),
    "a dilation too large": options("CONV_2D", dilationWFactor=2**31 - 1),
    "an unknown padding": options("CONV_2D", padding=7),
    "an unknown activation": options("CONV_2D", fusedActivationFunction=5),
    "weights in another layout": options("FULLY_CONNECTED", weightsFormat=1),
    "axes that are kept": options("MEAN", keepDims=True),
    "another beta": options("SOFTMAX", beta=-1.0),
    "no options": without_options,
    "another operator's options": other_options,
    "options of a custom operator": custom_options,
    "two subgraphs": two_subgraphs,
    "an input that is a constant": constant_input,
    "a variable": tensor_of("CONV_2D", -1, isVariable=True),
    "a convolution's answer of another size": tensor_of("CONV_2D", -1, shape=[1, 6, 5, 4]),
    "a dense layer's answer of another size": tensor_of("FULLY_CONNECTED", -1, shape=[1, 4]),
    "an input of another depth": tensor_of("CONV_2D", 0, shape=[1, 8, 8, 4], shapeSignature=None),
    "an input of rank 3": tensor_of("CONV_2D", 0, shape=[8, 8, 3], shapeSignature=None),
    "no columns": tensor_of("CONV_2D", 0, shape=[1, 8, 0, 3], shapeSignature=None),
    "another type": tensor_of("CONV_2D", -1, type=7),
    "a scale that is tiny": tensor_of("CONV_2D", -1, scale=[1e-30]),
    "a scale that is huge": tensor_of("CONV_2D", -1, scale=[1e30]),
    "a bias of another scale": tensor_of("CONV_2D", 2, scale=[1.0] * 4),
    "weights with a zero point": tensor_of("CONV_2D", 1, zeroPoint=[1, 0, 0, 0]),
    "a zero point that no value has": tensor_of("CONV_2D", -1, zeroPoint=[300]),
    "probabilities of another scale": tensor_of("SOFTMAX", -1, scale=[1 / 100]),
}


@pytest.mark.parametrize("damage", STRANGE)
def test_what_a_kernel_may_not_expect_is_strange(damage: str) -> None:
    assert check_structure(changed(converted("int8"), STRANGE[damage])).strange != ""


def test_a_model_of_much_work_is_tried() -> None:
    def enlarge(model: Any) -> None:
        main = model.subgraphs[0]
        main.tensors[operator(model, "CONV_2D").inputs[0]].shape = [1, 12000, 12000, 3]
        main.tensors[operator(model, "CONV_2D").outputs[0]].shape = [1, 11998, 11998, 4]

    assert "multiplications" in check_structure(changed(converted("int8"), enlarge)).strange
