"""A trained network taken apart: its layers, their shapes and parameters, and the work that they do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from runtime.files import shown

from ..errors import RunError
from .archive import check_archive

#: Layers with weights that work element by element; a batch normalization folds into the convolution before it.
_ELEMENTWISE = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "Normalization", "PReLU", "Embedding")
_CONVOLUTIONS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
#: Work without weights that is not counted.
_PRODUCTS = ("Dot", "Matmul", "Einsum", "Tensordot", "Attention", "AdditiveAttention")


@dataclass(frozen=True)
class Layer:
    """One layer of a network, or one operation of Keras in it.

    Attributes:
        name: with those of the models that it lies in, and slashes between.
        kind: its class, as in `"Conv2D"`.
        inputs: names of the layers whose output it takes.
        shape: of its output, without the batch; None where it is not fixed.
        parameters: how many numbers it holds.
        multiply_adds: of one picture; 0 of what works element by element, None where that is not counted.
        detail: what tells it from others of its kind, as in `"3x3, 32"`.
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


def load_network(path: Path) -> Any:
    """The Keras model of a run; no code from the file is run.

    Raises:
        RunError: it is missing, cannot be loaded, or names code that is not part of Keras.
    """
    check_archive(path, RunError, cure="train again")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # h5py, zipfile and Keras each raise their own
        raise RunError(f"{shown(path)}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error


def layers_of(model: Any) -> list[Layer]:
    """All layers in the order in which a picture goes through them, those of inner models in the model's place.

    Raises:
        RunError: the model is neither functional nor sequential, so that nobody can tell.
    """
    return list(_layers(model, ""))


def _layers(model: Any, prefix: str) -> Iterator[Layer]:
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "_nodes_by_depth"):
        raise RunError(f"{model.name}: a model of its own making, neither functional nor sequential; not taken apart")
    counted: set[int] = set()
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            operation = node.operation
            if isinstance(operation, keras.Model):
                yield from _inner(operation, node, prefix)
                continue
            # A layer that is called twice works twice and has its parameters once.
            again = id(operation) in counted
            counted.add(id(operation))
            yield _layer(operation, node, prefix, again)


def _layer(operation: Any, node: Any, prefix: str, again: bool) -> Layer:
    weights = getattr(operation, "weights", [])
    return Layer(
        name=prefix + operation.name,
        kind=type(operation).__name__,
        inputs=tuple(_producer(tensor, prefix) for tensor in node.input_tensors),
        shape=_shape(node.output_tensors[0]),
        parameters=0 if again else sum(math.prod(weight.shape) for weight in weights),
        multiply_adds=_multiply_adds(operation, node),
        detail=_detail(operation),
        layer=operation,
    )


def _inner(model: Any, node: Any, prefix: str) -> Iterator[Layer]:
    """The layers of a model inside another: its input is what the outer one feeds it."""
    outer = tuple(_producer(tensor, prefix) for tensor in node.input_tensors)
    inside = f"{prefix}{model.name}/"
    for layer in _layers(model, inside):
        if layer.kind == "InputLayer":
            yield Layer(layer.name, layer.kind, outer, layer.shape, 0, 0, "", layer.layer)
        else:
            yield layer


def _producer(tensor: Any, prefix: str) -> str:
    operation = tensor._keras_history.operation
    name = f"{prefix}{operation.name}"
    if not isinstance(operation, keras.Model):
        return name
    graph = getattr(operation, "_functional", None) or operation
    return _producer(graph.outputs[tensor._keras_history.tensor_index], f"{name}/")


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(tensor.shape[1:])


def _multiply_adds(operation: Any, node: Any) -> int | None:
    """Each weight of a kernel works once at each place that the kernel is laid on."""
    kind = type(operation).__name__
    weights = getattr(operation, "weights", [])
    if not weights or kind in _ELEMENTWISE:
        return None if kind in _PRODUCTS else 0
    kernels = [weight for weight in weights if weight.path.rpartition("/")[2].endswith("kernel")]
    given, answer = _shape(node.input_tensors[0]), _shape(node.output_tensors[0])
    if isinstance(operation, layers.Dense):
        places = answer[:-1]
    elif isinstance(operation, _TRANSPOSED):
        places = _spatial(operation, given)
    elif isinstance(operation, _CONVOLUTIONS):
        places = _spatial(operation, answer)
    else:
        return None
    if not kernels or None in places:
        return None
    size = sum(math.prod(kernel.shape) for kernel in kernels)
    return int(size * math.prod(side for side in places if side is not None))


def _spatial(operation: Any, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return shape[1:] if operation.data_format == "channels_first" else shape[:-1]


def _detail(operation: Any) -> str:
    told = []
    kernel = getattr(operation, "kernel_size", None) or getattr(operation, "pool_size", None)
    if isinstance(kernel, tuple):
        told.append("x".join(map(str, kernel)))
    for field in ("filters", "units"):
        if isinstance(getattr(operation, field, None), int):
            told.append(f"{getattr(operation, field)}")
    strides = getattr(operation, "strides", None)
    if isinstance(strides, tuple) and set(strides) != {1}:
        told.append(f"stride {'x'.join(map(str, strides))}")
    activation = getattr(getattr(operation, "activation", None), "__name__", "linear")
    if activation != "linear":
        told.append(activation)
    return ", ".join(told)
