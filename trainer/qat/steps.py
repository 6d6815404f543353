"""A folded network as the operators of an int8 file, and how the output of each is rounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from ..keras_inspection.graph import Call, classifier_calls
from .fake_quantization import quantized_weights
from .operations import FIXED_RANGES, FUNCTIONS, RANGE_KEEPING, WEIGHTED, compute_weighted, function_name


class Rounding(Enum):
    """The range of the 256 values that an output is rounded to."""

    OBSERVED = "least and greatest value of the representative images"
    AS_INPUT = "the range of the input"
    FIXED = "the range of the activation function"
    NONE = "no rounding: the next operator is fused with this one"


@dataclass(frozen=True)
class Step:
    """One operator of an int8 file.

    Attributes:
        inputs: indices of the steps whose outputs it takes; the image is step 0.
        layer: a layer of the network; None for the image.
        function: name of an activation function that is a step by itself; "" for the layer without its activation.
        rounding: how the output is rounded.
        overwritten_by: index of the addition that writes its output over this one's, or -1. See `_mark_overwritten`.
    """

    inputs: tuple[int, ...]
    layer: Any
    function: str = ""
    rounding: Rounding = Rounding.OBSERVED
    overwritten_by: int = -1

    @property
    def fixed_range(self) -> tuple[float, float] | None:
        """Least and greatest value of the function's output, if they are the same for every network."""
        return FIXED_RANGES[self.function] if self.rounding is Rounding.FIXED else None

    @property
    def averages(self) -> bool:
        """Whether it averages rounded values, which its kernel rounds in its own way."""
        return not self.function and isinstance(self.layer, layers.AveragePooling2D)

    def compute(self, values: list[Any], *, quantized: bool, training: bool) -> Any:
        """The output for input tensors, not yet rounded; `quantized` rounds the kernel."""
        if self.function:
            return FUNCTIONS[self.function](values[0])
        if isinstance(self.layer, WEIGHTED):
            kernel = tf.convert_to_tensor(self.layer.kernel)
            depthwise = type(self.layer) is layers.DepthwiseConv2D
            kernel = quantized_weights(kernel, depthwise) if quantized else kernel
            return compute_weighted(self.layer, values[0], kernel)
        if type(self.layer) is layers.Add:
            return keras.ops.add(*values)
        return self.layer(values[0], training=training) if _is_dropout(self.layer) else self.layer(values[0])


def simulation_steps(folded: Any) -> list[Step]:
    """The operators of a network from `folding.fold_batch_norm`, from the image to the scores."""
    steps: list[Step] = []
    places: list[int] = []
    for call in classifier_calls(folded):
        steps.extend(_steps_of_call(call, [places[i] for i in call.inputs], len(steps)))
        places.append(len(steps) - 1)
    counts = Counter(index for step in steps for index in step.inputs)
    for index, step in enumerate(steps):
        if step.function in ("relu", "relu6") and counts[step.inputs[0]] == 1:
            steps = _fuse_relu(steps, index)
    steps = _mark_overwritten(steps, counts)
    last = steps[-1]
    if last.rounding is Rounding.FIXED:  # rounding would make small probabilities 0, and decides nothing but ties
        steps[-1] = replace(last, rounding=Rounding.NONE)
    return steps


def _steps_of_call(call: Call, inputs: list[int], index: int) -> Iterator[Step]:
    """The operators of one call; the first of them gets the index."""
    layer = call.layer
    if not inputs:
        yield Step((), None)
    elif type(layer) is layers.Add:
        yield Step((inputs[0], inputs[1]), layer)
        for more, other in enumerate(inputs[2:]):
            yield Step((index + more, other), layer)
    elif not isinstance(layer, layers.Activation | layers.ReLU):
        keeps = isinstance(layer, RANGE_KEEPING)
        yield Step((inputs[0],), layer, rounding=Rounding.AS_INPUT if keeps else Rounding.OBSERVED)
        inputs = [index]
    function = function_name(layer) if inputs and type(layer) is not layers.Add else "linear"
    if function != "linear" or isinstance(layer, layers.Activation):
        yield _activation_step(inputs[0], layer, function)


def _activation_step(index: int, layer: Any, function: str) -> Step:
    rounding = Rounding.FIXED if function in FIXED_RANGES else Rounding.OBSERVED
    return Step((index,), layer, function, Rounding.AS_INPUT if function == "linear" else rounding)


def _fuse_relu(steps: list[Step], index: int) -> list[Step]:
    """The steps with this ReLU fused into the operator before it, if the converter does so."""
    before = steps[index].inputs[0]
    writer = steps[before]
    if writer.function or writer.layer is None:
        return steps
    fused = list(steps)
    if isinstance(writer.layer, (*WEIGHTED, layers.Add)):
        fused[before] = replace(writer, rounding=Rounding.NONE)
    elif isinstance(writer.layer, layers.MaxPooling2D | layers.AveragePooling2D):
        fused[index] = replace(steps[index], rounding=Rounding.AS_INPUT)
    return fused


def _mark_overwritten(steps: list[Step], counts: Counter[int]) -> list[Step]:
    """The steps with `overwritten_by` set.

    The converter finds ranges by running the float network and looking at an operator's tensors after it has run. An
    addition writes its output into the memory of the first of its inputs that no other operator reads, which then gets
    the range of both.
    """
    marked = list(steps)
    for index, step in enumerate(steps):
        if type(step.layer) is not layers.Add:
            continue
        fused = step.rounding is Rounding.NONE
        writer = next(i for i, s in enumerate(steps) if index in s.inputs) if fused else index
        for before in step.inputs:
            if counts[before] == 1 and before:
                marked[before] = replace(marked[before], overwritten_by=writer)
                break
    return marked


def _is_dropout(layer: Any) -> bool:
    return isinstance(layer, layers.Dropout | layers.SpatialDropout2D)
