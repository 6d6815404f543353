"""A folded network as the operators of an integer file, and the grid that each answer is rounded to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from ..keras_inspection.graph import Call, calls
from .fake_quantization import quantized_weights
from .operations import FIXED, FUNCTIONS, KEEPING, WEIGHTED, function_name, weighted


class Grid(Enum):
    """Where an answer's 256 values come from."""

    OWN = "least and greatest value seen"
    KEPT = "those of what is read"
    FIXED = "those of the function"
    NONE = "computed within the next operator, and never rounded"


@dataclass(frozen=True)
class Step:
    """One operator.

    Attributes:
        inputs: places of the steps whose answers it takes, the picture's 0.
        layer: a layer of the network; None for the picture.
        function: the activation function alone, by name; "" where the layer is meant, without its activation.
        grid: what the answer is rounded to.
        overwritten_by: place of an addition that writes its answer where this one's was, or -1. See `_in_place`.
    """

    inputs: tuple[int, ...]
    layer: Any
    function: str = ""
    grid: Grid = Grid.OWN
    overwritten_by: int = -1

    @property
    def fixed_range(self) -> tuple[float, float] | None:
        """Least and greatest value of the function's answers, where they are the same for every network."""
        return FIXED[self.function] if self.grid is Grid.FIXED else None

    @property
    def averages(self) -> bool:
        """Whether it averages what is rounded already, for which the kernel has a rounding of its own."""
        return not self.function and isinstance(self.layer, layers.AveragePooling2D)

    def compute(self, values: list[Any], *, quantized: bool, training: bool) -> Any:
        """The answer to tensors, not yet rounded; `quantized` rounds the kernel."""
        if self.function:
            return FUNCTIONS[self.function](values[0])
        if isinstance(self.layer, WEIGHTED):
            kernel = tf.convert_to_tensor(self.layer.kernel)
            depthwise = type(self.layer) is layers.DepthwiseConv2D
            return weighted(self.layer, values[0], quantized_weights(kernel, depthwise) if quantized else kernel)
        if type(self.layer) is layers.Add:
            return keras.ops.add(*values)
        return self.layer(values[0], training=training) if _is_dropout(self.layer) else self.layer(values[0])


def steps(folded: Any) -> list[Step]:
    """The operators of a network from `folding.fold`; the first is the picture, the last gives the answer."""
    made: list[Step] = []
    places: list[int] = []
    for call in calls(folded):
        for step in _parts(call, [places[i] for i in call.inputs], len(made)):
            made.append(step)
        places.append(len(made) - 1)
    counts = Counter(place for step in made for place in step.inputs)
    for place, step in enumerate(made):
        if step.function in ("relu", "relu6") and counts[step.inputs[0]] == 1:
            made = _fused(made, place)
    made = _in_place(made, counts)
    last = made[-1]
    if last.grid is Grid.FIXED:  # it would make nothing of a small probability, and decide only ties
        made[-1] = replace(last, grid=Grid.NONE)
    return made


def _parts(call: Call, inputs: list[int], place: int) -> Iterator[Step]:
    """The operators of one call, the first of which gets the place."""
    layer = call.layer
    if not inputs:
        yield Step((), None)
    elif type(layer) is layers.Add:
        yield Step((inputs[0], inputs[1]), layer)
        for more, other in enumerate(inputs[2:]):
            yield Step((place + more, other), layer)
    elif not isinstance(layer, layers.Activation | layers.ReLU):
        yield Step((inputs[0],), layer, grid=Grid.KEPT if isinstance(layer, KEEPING) else Grid.OWN)
        inputs = [place]
    function = function_name(layer) if inputs and type(layer) is not layers.Add else "linear"
    if function != "linear" or isinstance(layer, layers.Activation):
        yield _activation(inputs[0], layer, function)


def _activation(place: int, layer: Any, function: str) -> Step:
    grid = Grid.FIXED if function in FIXED else Grid.KEPT if function == "linear" else Grid.OWN
    return Step((place,), layer, function, grid)


def _fused(made: list[Step], place: int) -> list[Step]:
    """With the ReLU at the place computed by the operator before it, where the converter does so."""
    before = made[place].inputs[0]
    writer = made[before]
    if writer.function or writer.layer is None:
        return made
    fused = list(made)
    if isinstance(writer.layer, (*WEIGHTED, layers.Add)):
        fused[before] = replace(writer, grid=Grid.NONE)
    elif isinstance(writer.layer, layers.MaxPooling2D | layers.AveragePooling2D):
        fused[place] = replace(made[place], grid=Grid.KEPT)
    return fused


def _in_place(made: list[Step], counts: Counter[int]) -> list[Step]:
    """With the additions noted that overwrite what they read.

    The converter's calibration runs the float network and looks at an operator's tensors after it has run. An addition
    writes its answer into the memory of the first tensor it reads that nobody else reads, which then gets the range of
    both.
    """
    noted = list(made)
    for place, step in enumerate(made):
        if type(step.layer) is not layers.Add:
            continue
        answer = place if step.grid is not Grid.NONE else next(p for p, s in enumerate(made) if place in s.inputs)
        for before in step.inputs:
            if counts[before] == 1 and before:
                noted[before] = replace(noted[before], overwritten_by=answer)
                break
    return noted


def _is_dropout(layer: Any) -> bool:
    return isinstance(layer, layers.Dropout | layers.SpatialDropout2D)
