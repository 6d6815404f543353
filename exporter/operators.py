"""The operators of a converted file, one by one, each with the Keras layer that it comes from."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from runtime.tflite._schema import TENSOR_TYPES
from runtime.tflite.graph import OperatorUse, operator_use
from runtime.tflite.model import check_structure
from runtime.tflite.reader import Table


class Tensor(NamedTuple):
    """What a placed operator reads or writes: the element type, and the shape with -1 for what may vary."""

    type: str
    signature: tuple[int, ...]


class Placed(NamedTuple):
    """One operator in its place.

    Attributes:
        use: its name and version.
        layer: the Keras layer's name, or the name of the tensor that it writes where no layer is known.
        tensors: what it reads and writes, constants among them.
    """

    use: OperatorUse
    layer: str
    tensors: tuple[Tensor, ...]


def layer_of(name: str, layers: Collection[str]) -> str:
    """The layer that a tensor's or an operation's name speaks of; the name itself where it speaks of none.

    The converter writes the path of the names, `model_1/conv_1/Relu;model_1/conv_1/convolution`, each with a number.
    """
    for path in name.split(";"):
        for part in reversed(path.split("/")):
            for candidate in (part, re.sub(r"_\d+$", "", part)):
                if candidate in layers:
                    return candidate
    return name


def placed_operators(content: bytes, layers: Collection[str]) -> Iterator[Placed]:
    """Every operator of a FlatBuffer, in the order in which they run.

    Args:
        layers: names of the Keras model's layers.

    Raises:
        ModelFileError: it is damaged.
    """
    check_structure(content, "converted model")
    model = Table.root(content)
    uses = [operator_use(table) for table in model.tables(1)]
    for graph in model.tables(2):
        tensors = graph.tables(0)
        for table in graph.tables(3):
            outputs = table.numbers(2, "i")
            indices = [index for index in (*table.numbers(1, "i"), *outputs) if index >= 0]
            name = tensors[outputs[0]].text(3) if outputs else ""
            yield Placed(
                uses[table.number(0, "I")], layer_of(name, layers), tuple(_tensor(tensors[index]) for index in indices)
            )


def _tensor(table: Table) -> Tensor:
    return Tensor(TENSOR_TYPES[table.number(1, "b")], tuple(table.numbers(7, "i") or table.numbers(0, "i")))
