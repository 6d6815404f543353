"""Which operators Coral's compiler would map to an Edge TPU, by its documented rules; the compiler is not run.

Source: Coral, TensorFlow models on the Edge TPU, "Supported operations" and "Model requirements"
(coral.ai/docs/edgetpu/models-intro).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .operator_support import PlacedOperator, PlacedTensor

_SUPPORTED = frozenset(
    {
        *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED"),
        *("L2_NORMALIZATION", "LOGISTIC", "LSTM", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PACK", "PAD"),
        *("PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RSQRT"),
        *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUEEZE"),
        *("STRIDED_SLICE", "SUB", "SUM", "SQUARED_DIFFERENCE", "TANH", "TRANSPOSE", "TRANSPOSE_CONV"),
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    }
)
#: 32-bit integers are biases, shapes and axes.
_TYPES = frozenset({"INT8", "UINT8", "INT32"})
_MAX_SOFTMAX = 16_000


class OperatorMapping(NamedTuple):
    """Where an operator would run: on the Edge TPU, or on the processor and why."""

    operator: str
    layer: str
    reason: str

    @property
    def mapped(self) -> bool:
        """Whether it would run on the Edge TPU."""
        return not self.reason

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"operator": self.operator, "layer": self.layer, "mapped": self.mapped, "reason": self.reason}


def map_operators(operators: Iterable[PlacedOperator]) -> list[OperatorMapping]:
    """Where each operator would run.

    The compiler maps one part of the graph, from its beginning. From the first operator that it cannot map, all run on
    the processor.
    """
    found: list[OperatorMapping] = []
    stopped = ""
    for placed in operators:
        reason = stopped or _reason(placed)
        found.append(OperatorMapping(str(placed.use), placed.layer, reason))
        stopped = stopped or (f"after {placed.use.name} of {placed.layer}, which is not mapped" if reason else "")
    return found


def summarize_mapping(mappings: Sequence[OperatorMapping]) -> str:
    """One line for people."""
    on = sum(mapping.mapped for mapping in mappings)
    line = f"Edge TPU: {on} of {len(mappings)} operators would be mapped"
    first = next((mapping for mapping in mappings if not mapping.mapped), None)
    return (
        line if first is None else f"{line}; the first that is not: {first.operator} of {first.layer} ({first.reason})"
    )


def _reason(placed: PlacedOperator) -> str:
    if placed.use.name not in _SUPPORTED:
        return "the compiler does not support it"
    others = sorted({tensor.type for tensor in placed.tensors} - _TYPES)
    if others:
        return f"it has {others[0].lower()} values, expected 8-bit integers"
    if any(-1 in tensor.signature for tensor in placed.tensors):
        return "a shape is not fixed"
    if any(
        _is_too_wide(tensor) for tensor in placed.tensors if placed.use.name not in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ):
        return "more than the three innermost dimensions are larger than 1"
    if placed.use.name == "SOFTMAX" and max(tensor.signature[-1] for tensor in placed.tensors) > _MAX_SOFTMAX:
        return f"softmax of more than {_MAX_SOFTMAX:,} values"
    return ""


def _is_too_wide(tensor: PlacedTensor) -> bool:
    return any(size > 1 for size in tensor.signature[:-3])
