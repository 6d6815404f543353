"""What each operator of `pocketlens export` must be like so that its kernel is known not to fail.

Types, shapes, options and quantization are compared with what the kernel computes. A kernel that gets anything else may
divide by zero, read outside a tensor or end the process by an assertion, and no interpreter checks all of it. An
operator that no rule covers need not be bad: its model is tried first.

Bounds of quantization: `tensorflow/lite/kernels/internal/quantization_util.cc` and XNNPACK's `define_*` functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ._schema import UNIONS
from .operands import (
    Node,
    Operand,
    between,
    broadcast,
    family,
    fits_window,
    is_quantized,
    same_quantization,
    scale_ratio,
)

_MOST_RANK = 4
_OPTIONS = UNIONS["BuiltinOptions"].split()
_ACTIVATIONS = (0, 1, 3)  # none, ReLU, ReLU6
_TYPES = ("FLOAT16", "FLOAT32", "INT8", "INT16", "INT32", "INT64", "UINT8")


def is_plain(name: str, kind: int, node: Node) -> bool:
    """Whether an operator is of a kind that is known as a whole.

    Args:
        name: the operator's name.
        kind: the type of its options, as a number.
        node: what it reads and writes.
    """
    rule = _RULES.get(name)
    if rule is None or (rule.options and (kind >= len(_OPTIONS) or _OPTIONS[kind] != rule.options)):
        return False
    return all(map(_is_sound, [*node.inputs, node.output])) and rule.holds(node)


def _is_sound(tensor: Operand | None) -> bool:
    if tensor is None:
        return True
    return tensor.type in _TYPES and len(tensor.shape) <= _MOST_RANK and 0 not in tensor.shape


def _weights_fit(given: Operand, weights: Operand, bias: Operand | None, answer: Operand, axis: int) -> bool:
    """Whether types and quantization of a convolution or a dense layer fit; `axis` is that of the outputs."""
    channels = weights.shape[axis]
    if not weights.fixed or (bias is not None and (bias.shape != (channels,) or not bias.fixed)):
        return False
    kind = family(given, answer)
    if kind == "FLOAT32":
        biased = bias is None or (bias.type == "FLOAT32" and not bias.scale)
        return biased and ((weights.type == "FLOAT32" and not weights.scale) or _scales_fit(weights, channels, axis))
    if not kind or not _scales_fit(weights, channels, axis):
        return False
    products = [given.scale[0] * scale for scale in weights.scale]
    if not all(between(-30, product / answer.scale[0], 4) for product in products):
        return False
    if bias is None:
        return len(products) == 1  # on ARM a kernel fails where each channel has its scale
    if bias.type not in (("INT32",) if kind == "INT8" else ("INT64", "INT32")) or any(bias.zero_point):
        return False
    if len(bias.scale) != len(products):
        return False
    return kind == "INT16" or all(map(_is_close, bias.scale, products))  # 16-bit kernels do not look at it


def _is_close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-3 * other


def _scales_fit(weights: Operand, channels: int, axis: int) -> bool:
    per_channel = len(weights.scale) == channels and (weights.axis == axis or channels == 1)
    return (
        weights.type == "INT8"
        and weights.constant
        and (per_channel or len(weights.scale) == 1)
        and not any(weights.zero_point)
        and all(2**-40 < scale < 2**20 for scale in weights.scale)
    )


def _layer(node: Node) -> tuple[Operand, Operand, Operand | None] | None:
    """Input, weights and bias of a convolution or a dense layer."""
    given, weights, bias = (*node.inputs, None, None, None)[:3]
    if given is None or weights is None or len(node.inputs) not in (2, 3):
        return None
    return given, weights, bias


def _convolution(node: Node) -> bool:
    layer = _layer(node)
    if layer is None or len(layer[1].shape) != 4 or len(layer[0].shape) != 4 or len(node.output.shape) != 4:
        return False
    given, weights, bias = layer
    stride, more = (node.integer(2), node.integer(1)), (node.integer(5, 1), node.integer(4, 1))
    return (
        weights.shape[3] == given.shape[3]
        and weights.shape[0] == node.output.shape[3]
        and node.byte(3) in _ACTIVATIONS
        and fits_window(given, node.output, weights.shape[1:3], stride, more, node.byte(0))  # type: ignore[arg-type]
        and _weights_fit(given, weights, bias, node.output, axis=0)
    )


def _depthwise(node: Node) -> bool:
    layer = _layer(node)
    if layer is None or len(layer[1].shape) != 4 or len(layer[0].shape) != 4 or len(node.output.shape) != 4:
        return False
    given, weights, bias = layer
    stride, more = (node.integer(2), node.integer(1)), (node.integer(6, 1), node.integer(5, 1))
    return (
        weights.shape[0] == 1
        and weights.shape[3] == node.output.shape[3] == given.shape[3] * node.integer(3)
        and node.byte(4) in _ACTIVATIONS
        and fits_window(given, node.output, weights.shape[1:3], stride, more, node.byte(0))  # type: ignore[arg-type]
        and _weights_fit(given, weights, bias, node.output, axis=3)
    )


def _dense(node: Node) -> bool:
    layer = _layer(node)
    if layer is None or len(layer[1].shape) != 2 or not layer[0].shape:
        return False
    given, weights, bias = layer
    units, width = weights.shape
    rows = (*given.shape[:-1],) if node.byte(2) else (given.size // width,)
    if given.size % width or (node.byte(2) and given.shape[-1] != width):
        return False
    return (
        node.output.shape == (*rows, units)
        and node.byte(0) in _ACTIVATIONS
        and node.byte(1) == 0  # the usual layout of weights
        and _weights_fit(given, weights, bias, node.output, axis=0)
    )


def _pool(node: Node) -> bool:
    given = node.present(1)
    if not given or not family(given[0], node.output):
        return False
    stride, kernel = (node.integer(2), node.integer(1)), (node.integer(4), node.integer(3))
    return (
        given[0].shape[-1:] == node.output.shape[-1:]
        and node.byte(5) in _ACTIVATIONS
        and max(kernel) <= 2**8
        and same_quantization(given[0], node.output)
        and fits_window(given[0], node.output, kernel, stride, (1, 1), node.byte(0))
    )


def _elementwise(low: float, high: float, *, scale_of_product: bool = False) -> Callable[[Node], bool]:
    """A sum or a product of two tensors; the inputs' scales over the output's lie between powers of two."""

    def holds(node: Node) -> bool:
        given = node.present(2)
        if not given or broadcast(given[0].shape, given[1].shape) != node.output.shape:
            return False
        kind = family(*given, node.output)
        if not kind or node.byte(0) not in _ACTIVATIONS or (kind == "INT16" and node.byte(1, 1)):
            return False
        if kind == "FLOAT32":
            return True
        if scale_of_product:
            return between(low, given[0].scale[0] * given[1].scale[0] / node.output.scale[0], high)
        return all(between(low, scale_ratio(one, node.output), high) for one in given) and between(
            -10, scale_ratio(*given), 10
        )

    return holds


def _float_pair(node: Node) -> bool:
    given = node.present(2)
    return (
        bool(given)
        and family(*given, node.output) == "FLOAT32"
        and broadcast(given[0].shape, given[1].shape) == node.output.shape
        and node.byte(0) in _ACTIVATIONS
    )


def _function(*, low: float | None = None, high: float = 0.0) -> Callable[[Node], bool]:
    """A function of each element: of floats, and of 8 bits where the ratio of the scales is bounded."""

    def holds(node: Node) -> bool:
        given = node.present(1)
        if not given or given[0].shape != node.output.shape:
            return False
        kind = family(given[0], node.output)
        return kind == "FLOAT32" or (
            kind == "INT8" and low is not None and between(low, scale_ratio(given[0], node.output), high)
        )

    return holds


def _bounded(steps: dict[str, tuple[float, int]]) -> Callable[[Node], bool]:
    """A function whose output has the scale and zero point that TensorFlow Lite prescribes for its type."""

    def holds(node: Node) -> bool:
        given = node.present(1)
        if not given or given[0].shape != node.output.shape or not given[0].shape:
            return False
        kind = family(given[0], node.output)
        if kind == "FLOAT32":
            return True
        return (
            kind in steps
            and (node.output.scale[0], node.output.zero_point) == (steps[kind][0], (steps[kind][1],))
            and between(-20, given[0].scale[0], 6)
        )

    return holds


def _softmax(node: Node) -> bool:
    beta = node.options.number(0, "f", 0.0) if node.options else 0.0
    return bool(beta == 1.0) and _bounded({"INT8": (1 / 256, -128), "INT16": (1 / 32768, 0)})(node)


def _leaky(node: Node) -> bool:
    alpha = node.options.number(0, "f", 0.0) if node.options else 0.0
    return between(-10, alpha, 0) and _function(low=-7, high=7)(node)


def _mean(node: Node) -> bool:
    given = node.present(2)
    if not given or not family(given[0], node.output):
        return False
    rank, axes = len(given[0].shape), given[1].integers
    chosen = {axis % rank for axis in axes if -rank <= axis < rank} if rank else set()
    if not axes or len(given[1].shape) > 1 or len(chosen) != len(axes):
        return False
    shape = [1 if axis in chosen else length for axis, length in enumerate(given[0].shape)]
    if not node.byte(0):
        shape = [length for axis, length in enumerate(given[0].shape) if axis not in chosen]
    return node.output.shape == tuple(shape) and (
        node.output.type == "FLOAT32" or between(-8, scale_ratio(given[0], node.output), 8)
    )


def _reshape(node: Node) -> bool:
    given = node.present(2)
    if not given or given[0].size != node.output.size or given[0].type != node.output.type:
        return False
    wanted = given[1].integers
    fits = len(wanted) == len(node.output.shape) and wanted.count(-1) <= 1
    return (
        fits
        and len(given[1].shape) == 1
        and all(n in (-1, length) for n, length in zip(wanted, node.output.shape, strict=True))
        and same_quantization(given[0], node.output)
    )


def _pad(node: Node) -> bool:
    given = node.present(2)
    if not given or not family(given[0], node.output) or given[1].shape != (len(given[0].shape), 2):
        return False
    added = given[1].integers
    sizes = (
        [length + added[2 * axis] + added[2 * axis + 1] for axis, length in enumerate(given[0].shape)] if added else []
    )
    return (
        bool(added)
        and min(added) >= 0
        and node.output.shape == tuple(sizes)
        and same_quantization(given[0], node.output)
    )


def _concatenation(node: Node) -> bool:
    given = node.present(len(node.inputs))
    if not given or not family(*given, node.output) or node.byte(1) != 0:
        return False
    rank, axis = len(node.output.shape), node.integer(0)
    if not rank or not -rank <= axis < rank or any(len(one.shape) != rank for one in given):
        return False
    lengths = list(node.output.shape)
    lengths[axis] = sum(one.shape[axis] for one in given)
    others = all(one.shape[n] == lengths[n] for one in given for n in range(rank) if n != axis % rank)
    return others and node.output.shape == tuple(lengths) and all(same_quantization(one, node.output) for one in given)


def _quantize(node: Node) -> bool:
    given = node.present(1)
    if not given or given[0].shape != node.output.shape or not is_quantized(node.output):
        return False
    if given[0].type == "FLOAT32":
        return not given[0].scale
    return {given[0].type, node.output.type} <= {"INT8", "UINT8"} and (
        is_quantized(given[0]) and between(-7, scale_ratio(given[0], node.output), 7)
    )


def _dequantize(node: Node) -> bool:
    given = node.present(1)
    if not given or given[0].shape != node.output.shape or node.output.type != "FLOAT32" or node.output.scale:
        return False
    return (given[0].type == "FLOAT16" and given[0].fixed and not given[0].scale) or is_quantized(given[0])


class _Rule(NamedTuple):
    """What an operator must have: the table of its options ("" if its kernel reads none), and a condition."""

    options: str
    holds: Callable[[Node], bool]


_RULES: dict[str, _Rule] = {
    "CONV_2D": _Rule("Conv2DOptions", _convolution),
    "DEPTHWISE_CONV_2D": _Rule("DepthwiseConv2DOptions", _depthwise),
    "FULLY_CONNECTED": _Rule("FullyConnectedOptions", _dense),
    "AVERAGE_POOL_2D": _Rule("Pool2DOptions", _pool),
    "MAX_POOL_2D": _Rule("Pool2DOptions", _pool),
    "ADD": _Rule("AddOptions", _elementwise(-9, 7)),
    "SUB": _Rule("SubOptions", _elementwise(-9, 7)),
    "MUL": _Rule("MulOptions", _elementwise(-15, 7, scale_of_product=True)),
    "DIV": _Rule("DivOptions", _float_pair),
    "SQUARED_DIFFERENCE": _Rule("", lambda node: _float_pair(node._replace(options=None))),
    "MAXIMUM": _Rule("", lambda node: _float_pair(node._replace(options=None))),
    "MINIMUM": _Rule("", lambda node: _float_pair(node._replace(options=None))),
    "MEAN": _Rule("ReducerOptions", _mean),
    "RESHAPE": _Rule("", _reshape),
    "PAD": _Rule("", _pad),
    "CONCATENATION": _Rule("ConcatenationOptions", _concatenation),
    "QUANTIZE": _Rule("", _quantize),
    "DEQUANTIZE": _Rule("", _dequantize),
    "SOFTMAX": _Rule("SoftmaxOptions", _softmax),
    "LOGISTIC": _Rule("", _bounded({"INT8": (1 / 256, -128)})),
    "TANH": _Rule("", _bounded({"INT8": (1 / 128, 0)})),
    "LEAKY_RELU": _Rule("LeakyReluOptions", _leaky),
    "RELU": _Rule("", _function(low=-7, high=7)),
    "RELU6": _Rule("", _function(low=-7, high=7)),
    "ELU": _Rule("", _function(low=-7, high=7)),
    "GELU": _Rule("GeluOptions", _function(low=-7, high=7)),
    "HARD_SWISH": _Rule("", _function(low=-6, high=6)),
    **dict.fromkeys(("ABS", "EXP", "LOG", "NEG", "RSQRT", "SQRT", "SQUARE"), _Rule("", _function())),
}
