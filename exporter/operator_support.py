"""The operators of a converted file, and whether the interpreter of a device knows every one of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from runtime import InterpreterError
from runtime.interpreter import AUTO, LIBRARIES, choose
from runtime.tflite._operator_versions import MEASURED, known, unknown_to
from runtime.tflite._schema import TENSOR_TYPES
from runtime.tflite.graph import OperatorUse, operator_use
from runtime.tflite.model import check_structure
from runtime.tflite.reader import Table

from .errors import ExportError

#: The library whose table of operators a target is checked against.
TARGETS = {"tflite-runtime-2.14": "tflite_runtime", "litert": "ai_edge_litert"}
DEFAULT_TARGET = "tflite-runtime-2.14"
#: The operator that the converter writes for a dense layer of dynamic range; see `converter.convert`.
_PER_CHANNEL_DENSE = ("FULLY_CONNECTED", 12)
#: Targets that crash (SIGSEGV) on arm64 and armhf in most small int8 dense layers with no bias and a scale for each
#: output. This was measured in emulation. x86-64 runs such a layer, and one scale for all outputs runs everywhere. The
#: converter leaves out a bias of zeros, so an untrained bias is enough to cause this.
CRASHES_ON_ARM = ("tflite-runtime-2.14",)


class PlacedTensor(NamedTuple):
    """A tensor that an operator reads or writes: its element type, and its shape with -1 for a size that varies."""

    type: str
    signature: tuple[int, ...]


class PlacedOperator(NamedTuple):
    """One operator of a graph.

    Attributes:
        use: name and version of the operator.
        layer: the name of its Keras layer; where no layer is known, the name of the tensor that it writes.
        tensors: the tensors that it reads and writes, constants among them.
    """

    use: OperatorUse
    layer: str
    tensors: tuple[PlacedTensor, ...]


def layer_of(name: str, layers: Collection[str]) -> str:
    """The layer that the name of a tensor or an operation contains; the name itself where it contains none.

    The converter writes paths of names, each with a number: `model_1/conv_1/Relu;model_1/conv_1/convolution`.
    """
    for path in name.split(";"):
        for part in reversed(path.split("/")):
            for candidate in (part, re.sub(r"_\d+$", "", part)):
                if candidate in layers:
                    return candidate
    return name


def placed_operators(content: bytes, layers: Collection[str]) -> Iterator[PlacedOperator]:
    """The operators of a FlatBuffer, in the order in which they run.

    Args:
        layers: names of the Keras model's layers.

    Raises:
        ModelFileError: the FlatBuffer is damaged.
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
            yield PlacedOperator(
                uses[table.number(0, "I")], layer_of(name, layers), tuple(_tensor(tensors[index]) for index in indices)
            )


def _tensor(table: Table) -> PlacedTensor:
    return PlacedTensor(TENSOR_TYPES[table.number(1, "b")], tuple(table.numbers(7, "i") or table.numbers(0, "i")))


class LackingOperator(NamedTuple):
    """An operator that a target lacks, its layer, and the highest version that the target knows, 0 for none."""

    use: OperatorUse
    layer: str
    known: int

    @property
    def is_per_channel_dense(self) -> bool:
        """Whether the target runs the layer with one scale for all its weights."""
        return (self.use.name, self.use.version) == _PER_CHANNEL_DENSE

    def describe(self, target: str) -> str:
        """One clause with the operator, its version, its layer, and the version that the target knows."""
        knows = f"knows it up to version {self.known}" if self.known else "does not know it"
        return f"{self.use} (layer {self.layer!r}): {release_of(target)} {knows}"


def crashes_on_arm(placed: PlacedOperator) -> bool:
    """Whether an operator is an int8 dense layer without a bias: it has an input, weights and an output alone."""
    return placed.use.name == "FULLY_CONNECTED" and len(placed.tensors) == 3 and placed.tensors[0].type == "INT8"


def library_of(target: str) -> str:
    """The interpreter library of a target.

    Raises:
        ExportError: there is no such target.
    """
    if target not in TARGETS:
        raise ExportError(f"`target` is {target!r}, expected one of {', '.join(TARGETS)}")
    return TARGETS[target]


def release_of(target: str) -> str:
    """The distribution and its release that the operators of a target were measured with."""
    library = library_of(target)
    return f"{LIBRARIES[library]} {MEASURED[library]}"


def find_lacking(operators: Iterable[PlacedOperator], target: str) -> list[LackingOperator]:
    """The operators that a target lacks, each once, with the first layer that needs it.

    Flex and custom operators are among them: the interpreter loads them and fails when it is called.
    """
    library = library_of(target)
    first = {placed.use: placed.layer for placed in reversed(list(operators))}
    return [LackingOperator(use, first[use], version) for use, version in unknown_to(library, first)]


def refuse_lacking(found: Sequence[LackingOperator], recipe: str, target: str) -> None:
    """Raise an error that names every operator that the target lacks, and the cure.

    Raises:
        ExportError: at least one operator was found.
    """
    if not found:
        return
    others = [name for name in TARGETS if name != target and all(_knows(name, lacking.use) for lacking in found)]
    cures = [f"`target={others[0]}` where the device has {release_of(others[0])}"] if others else []
    cures += ["another `mode`", "a layer or activation of other operators"]
    raise ExportError(
        f"{recipe}: {'; '.join(lacking.describe(target) for lacking in found)}; the cure is {', or '.join(cures)}"
    )


def _knows(target: str, use: OperatorUse) -> bool:
    return not use.custom and use.version in known(library_of(target)).get(use.name, ())


def runnable_library(target: str) -> tuple[str, str]:
    """The library to score with, the target's own if it is installed, and a warning if it is another; "" for none."""
    library = library_of(target)
    try:
        return choose(library), ""
    except InterpreterError as error:
        other = LIBRARIES[choose(AUTO)]
        return AUTO, f"checked against {release_of(target)} by its table of operators, but run in {other}: {error}"
