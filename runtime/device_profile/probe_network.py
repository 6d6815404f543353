"""Builds small TensorFlow Lite models operator by operator, for measurements: their weights mean nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..tflite import _schema as schema
from ..tflite.model import MODEL_SCHEMA
from ..tflite.writer import write_flatbuffer

INT8, UINT8, INT32, FLOAT32, FLOAT16 = "INT8", "UINT8", "INT32", "FLOAT32", "FLOAT16"
#: The types of activations that probes have.
PROBE_TYPES = (INT8, FLOAT32)
#: Padding, and the activation that an operator applies to what it writes.
_SAME, _RELU = 0, 1
#: Quantization of activations, and of weights.
_SCALE, _WEIGHT_SCALE = 0.05, 0.004
#: The scale and zero point that these operators demand for an int8 answer.
_ANSWERS = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
_OPTIONS = schema.UNIONS["BuiltinOptions"].split()
_DTYPES = {INT8: np.int8, UINT8: np.uint8, INT32: np.int32, FLOAT32: np.float32, FLOAT16: np.float16}


class _Options(NamedTuple):
    """The table of an operator's options, and its fields by slot."""

    table: str = "NONE"
    fields: Mapping[int, Any] = {}


class ProbeNetwork:
    """A model under construction. Tensors are named by their numbers.

    Args:
        kind: the type of its activations, one of `PROBE_TYPES`.
        weights: the type of the weights of a FLOAT32 network; those of FLOAT16 are dequantized by operators.
    """

    def __init__(self, kind: str, weights: str = FLOAT32) -> None:
        self.kind = kind
        self._stored = weights
        self._tensors: list[dict[int, Any]] = []
        self._shapes: list[tuple[int, ...]] = []
        self._buffers: list[dict[int, Any]] = [{}]
        self._codes: dict[tuple[str, int], int] = {}
        self._operators: list[dict[int, Any]] = []
        self._inputs: list[int] = []

    def content(self, outputs: Sequence[int]) -> bytes:
        """The model file.

        Args:
            outputs: the tensors that are its answer.
        """
        numbers = {name: number for number, name in enumerate(schema.OPERATORS)}
        codes = [{0: min(numbers[name], 127), 2: version, 3: numbers[name]} for name, version in self._codes]
        graph = {0: self._tensors, 1: self._inputs, 2: list(outputs), 3: self._operators}
        return write_flatbuffer(MODEL_SCHEMA, {0: 3, 1: codes, 2: [graph], 4: self._buffers})

    def given(self, shape: tuple[int, ...], kind: str = "") -> int:
        """An input."""
        self._inputs.append(self._tensor(shape, kind or self.kind))
        return self._inputs[-1]

    def convolution(self, x: int, filters: int, side: int = 3, stride: int = 1) -> int:
        """A convolution with a bias and ReLU."""
        _, height, width, channels = self._shapes[x]
        shape = (1, -(-height // stride), -(-width // stride), filters)
        weights = self._weights((filters, side, side, channels), channel_axis=0)
        options = _Options("Conv2DOptions", {0: _SAME, 1: stride, 2: stride, 3: _RELU, 4: 1, 5: 1})
        return self._operator("CONV_2D", (x, weights, self._bias(filters)), shape, options)

    def depthwise(self, x: int, side: int = 3, stride: int = 1) -> int:
        """A convolution of each channel with a filter of its own, with a bias and ReLU."""
        _, height, width, channels = self._shapes[x]
        shape = (1, -(-height // stride), -(-width // stride), channels)
        weights = self._weights((1, side, side, channels), channel_axis=3)
        fields = {0: _SAME, 1: stride, 2: stride, 3: 1, 4: _RELU, 5: 1, 6: 1}
        options = _Options("DepthwiseConv2DOptions", fields)
        return self._operator("DEPTHWISE_CONV_2D", (x, weights, self._bias(channels)), shape, options)

    def dense(self, x: int, units: int, *, relu: bool = True) -> int:
        """A dense layer with a bias."""
        weights = self._weights((units, self._shapes[x][-1]))
        options = _Options("FullyConnectedOptions", {0: _RELU if relu else 0})
        return self._operator("FULLY_CONNECTED", (x, weights, self._bias(units, scales=1)), (1, units), options)

    def pool(self, x: int, name: str = "MAX_POOL_2D", side: int = 2) -> int:
        """A pooling of windows that do not overlap."""
        _, height, width, channels = self._shapes[x]
        shape = (1, -(-height // side), -(-width // side), channels)
        options = _Options("Pool2DOptions", {0: _SAME, 1: side, 2: side, 3: side, 4: side})
        return self._operator(name, (x,), shape, options)

    def mean(self, x: int) -> int:
        """The mean of each channel of a picture."""
        axes = self._constant(np.array([1, 2], np.int32), INT32)
        return self._operator("MEAN", (x, axes), (1, self._shapes[x][-1]), _Options("ReducerOptions"))

    def pad(self, x: int) -> int:
        """A row and a column of zeros behind a picture."""
        _, height, width, channels = self._shapes[x]
        amounts = self._constant(np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32), INT32)
        return self._operator("PAD", (x, amounts), (1, height + 1, width + 1, channels), _Options("PadOptions"))

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        """The same values in another shape."""
        wanted = self._constant(np.array(shape, np.int32), INT32)
        return self._operator("RESHAPE", (x, wanted), shape, _Options("ReshapeOptions"))

    def combine(self, x: int, name: str, other: int | None = None) -> int:
        """ADD, SUB or MUL, with a tensor of the same shape or with one constant."""
        second = self._constant(np.ones(1, _DTYPES[self.kind]), self.kind, _SCALE) if other is None else other
        options = _Options(f"{name.title()}Options", {0: _RELU if other is not None else 0})
        return self._operator(name, (x, second), self._shapes[x], options)

    def pointwise(self, x: int, name: str) -> int:
        """An operator that computes each value, or each row, on its own: SOFTMAX, LOGISTIC, TANH, RELU, HARD_SWISH."""
        options = _Options("SoftmaxOptions", {0: 1.0}) if name == "SOFTMAX" else _Options()
        return self._operator(name, (x,), self._shapes[x], options)

    def converted(self, x: int, name: str, kind: str) -> int:
        """QUANTIZE or DEQUANTIZE to a type."""
        return self._operator(name, (x,), self._shapes[x], _Options(f"{name.title()}Options"), kind)

    def _operator(
        self, name: str, inputs: Sequence[int], shape: tuple[int, ...], options: _Options, kind: str = ""
    ) -> int:
        kind = kind or self.kind
        scale, zero_point = _ANSWERS.get(name, (_SCALE, 128 if kind == UINT8 else 0))
        output = self._tensor(shape, kind, scale=scale, zero_point=zero_point)
        code = self._codes.setdefault((name, _version(name, self.kind)), len(self._codes))
        entry: dict[int, Any] = {0: code, 1: list(inputs), 2: [output]}
        if options.table != "NONE":
            entry |= {3: _OPTIONS.index(options.table), 4: options.fields}
        self._operators.append(entry)
        return output

    def _weights(self, shape: tuple[int, ...], channel_axis: int | None = None) -> int:
        if self.kind == FLOAT32:
            return self._float_constant(_pattern(shape).astype(np.float32) / 1000)
        scales = 1 if channel_axis is None else shape[channel_axis]
        return self._constant(_pattern(shape), INT8, _WEIGHT_SCALE, scales, channel_axis or 0)

    def _bias(self, count: int, scales: int = 0) -> int:
        if self.kind == FLOAT32:
            return self._float_constant(np.ones(count, np.float32))
        return self._constant(np.ones(count, np.int32), INT32, _SCALE * _WEIGHT_SCALE, scales or count)

    def _float_constant(self, values: np.ndarray[Any, Any]) -> int:
        stored = self._constant(values.astype(_DTYPES[self._stored]), self._stored)
        return stored if self._stored == FLOAT32 else self.converted(stored, "DEQUANTIZE", FLOAT32)

    def _constant(
        self, values: np.ndarray[Any, Any], kind: str, scale: float = 0.0, scales: int = 1, axis: int = 0
    ) -> int:
        self._buffers.append({0: values.tobytes()})
        return self._tensor(values.shape, kind, len(self._buffers) - 1, scale, scales=scales, axis=axis)

    def _tensor(
        self,
        shape: tuple[int, ...],
        kind: str,
        buffer: int = 0,
        scale: float = _SCALE,
        zero_point: int = 0,
        scales: int = 1,
        axis: int = 0,
    ) -> int:
        entry: dict[int, Any] = {
            0: list(shape),
            1: schema.TENSOR_TYPES.index(kind),
            2: buffer,
            3: f"t{len(self._shapes)}",
        }
        if kind != FLOAT32 and scale:
            entry[4] = {2: [scale] * scales, 3: [zero_point] * scales, 6: axis}
        self._tensors.append(entry)
        self._shapes.append(tuple(shape))
        return len(self._shapes) - 1


def _pattern(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Weights of all sizes, the same each time."""
    return (np.arange(math.prod(shape)) * 37 % 255 - 127).astype(np.int8).reshape(shape)


def _version(name: str, kind: str) -> int:
    """The version of an operator; that of int8 is 2, and 3 for those that have a scale for each channel."""
    if name == "DEQUANTIZE" and kind == FLOAT32:
        return 3  # from float16
    if name in ("QUANTIZE", "RESHAPE", "HARD_SWISH") or kind == FLOAT32:
        return 1
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return 3
    return 4 if name == "FULLY_CONNECTED" else 2
