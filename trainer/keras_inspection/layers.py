"""The layers of a network: their shapes, parameters and multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from ..errors import RunError
from .graph import Call, all_calls

#: Layers that use their weights element by element; batch normalization folds into the convolution before it.
_ELEMENTWISE = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "Normalization", "PReLU", "Embedding")
_CONVOLUTIONS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
#: Operations without weights whose multiply-adds are not counted.
_PRODUCTS = ("Dot", "Matmul", "Einsum", "Tensordot", "Attention", "AdditiveAttention")


@dataclass(frozen=True)
class Layer:
    """One layer of a network, or one operation of Keras in it.

    Attributes:
        name: after the names of the models that it lies in, with slashes between.
        kind: its class, as in `"Conv2D"`.
        inputs: names of the layers whose outputs it takes.
        shape: of its output, without the batch; None for a side that is not fixed.
        parameters: how many numbers it holds.
        multiply_adds: for one sample; 0 for a layer that works element by element, None where they are not counted.
        detail: its size and activation, as in `"3x3, 32, relu"`.
        layer: the Keras layer.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int | None, ...]
    parameters: int
    multiply_adds: int | None
    detail: str
    layer: Any

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        fields = ("name", "kind", "detail", "inputs", "parameters", "multiply_adds")
        return {name: getattr(self, name) for name in fields} | {"output_shape": list(self.shape)}


def layers_of(model: Any) -> list[Layer]:
    """All layers in the order of computation, with those of nested models in the model's place.

    A layer that is called twice is listed twice, and has its parameters once.

    Raises:
        RunError: the model, or one inside it, is neither functional nor sequential, so that it has no graph.
    """
    try:
        calls = all_calls(model)
    except ValueError:
        raise _without_graph(model) from None
    counted: set[int] = set()
    layers = []
    for call in calls:
        if isinstance(call.layer, keras.Model):
            raise _without_graph(call.layer)
        layers.append(_layer(call, [calls[place].name for place in call.inputs], id(call.layer) in counted))
        counted.add(id(call.layer))
    return layers


def _without_graph(model: Any) -> RunError:
    return RunError(f"{model.name}: a model of its own making, neither functional nor sequential; not taken apart")


def _layer(call: Call, inputs: Sequence[str], counted: bool) -> Layer:
    weights = getattr(call.layer, "weights", [])
    return Layer(
        name=call.name,
        kind=type(call.layer).__name__,
        inputs=tuple(inputs),
        shape=_shape(call.output),
        parameters=0 if counted else sum(math.prod(weight.shape) for weight in weights),
        multiply_adds=_multiply_adds(call),
        detail=_detail(call.layer),
        layer=call.layer,
    )


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(tensor.shape[1:])


def _multiply_adds(call: Call) -> int | None:
    """Each weight of a kernel is multiplied once at each position of the kernel."""
    operation, kind = call.layer, type(call.layer).__name__
    weights = getattr(operation, "weights", [])
    if not weights or kind in _ELEMENTWISE:
        return None if kind in _PRODUCTS else 0
    kernels = [weight for weight in weights if weight.path.rpartition("/")[2].endswith("kernel")]
    if isinstance(operation, layers.Dense):
        positions = _shape(call.output)[:-1]
    elif isinstance(operation, _TRANSPOSED):
        positions = _spatial(operation, _shape(call.input_tensors[0]))
    elif isinstance(operation, _CONVOLUTIONS):
        positions = _spatial(operation, _shape(call.output))
    else:
        return None
    if not kernels or None in positions:
        return None
    size = sum(math.prod(kernel.shape) for kernel in kernels)
    return int(size * math.prod(side for side in positions if side is not None))


def _spatial(operation: Any, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return shape[1:] if operation.data_format == "channels_first" else shape[:-1]


def _detail(operation: Any) -> str:
    parts = []
    kernel = getattr(operation, "kernel_size", None) or getattr(operation, "pool_size", None)
    if isinstance(kernel, tuple):
        parts.append("x".join(map(str, kernel)))
    for field in ("filters", "units"):
        if isinstance(getattr(operation, field, None), int):
            parts.append(f"{getattr(operation, field)}")
    strides = getattr(operation, "strides", None)
    if isinstance(strides, tuple) and set(strides) != {1}:
        parts.append(f"stride {'x'.join(map(str, strides))}")
    activation = getattr(getattr(operation, "activation", None), "__name__", "linear")
    if activation != "linear":
        parts.append(activation)
    return ", ".join(parts)
