"""The operators of a converted file, and whether the interpreter of a device knows every one of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from runtime import InterpreterError
from runtime.interpreter import AUTO, LIBRARIES, choose
from runtime.tflite._operator_versions import MEASURED, known, unknown_to
from runtime.tflite._schema import TENSOR_TYPES
from runtime.tflite.graph import OperatorUse, operator_use
from runtime.tflite.model import check_structure
from runtime.tflite.reader import Table

from .errors import ExportError

#: Target to the library whose table of operators it is checked against.
TARGETS = {"tflite-runtime-2.14": "tflite_runtime", "litert": "ai_edge_litert"}
DEFAULT_TARGET = "tflite-runtime-2.14"
#: What the converter writes for a dense layer of dynamic range; see `converter.convert`.
_PER_CHANNEL_DENSE = ("FULLY_CONNECTED", 12)
#: Targets that die on arm64 and armhf (SIGSEGV, in most small shapes) of an int8 dense layer with no bias and a scale
#: for each output: tflite-runtime 2.14, measured in emulation. x86-64 runs it; one scale for all runs everywhere.
#: The converter leaves out a bias of zeros, so that an untrained bias is enough.
CRASHES_ON_ARM = ("tflite-runtime-2.14",)


class PlacedTensor(NamedTuple):
    """What a placed operator reads or writes: the element type, and the shape with -1 for what may vary."""

    type: str
    signature: tuple[int, ...]


class PlacedOperator(NamedTuple):
    """One operator in its place.

    Attributes:
        use: its name and version.
        layer: the Keras layer's name, or the name of the tensor that it writes where no layer is known.
        tensors: what it reads and writes, constants among them.
    """

    use: OperatorUse
    layer: str
    tensors: tuple[PlacedTensor, ...]


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


def placed_operators(content: bytes, layers: Collection[str]) -> Iterator[PlacedOperator]:
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
            yield PlacedOperator(
                uses[table.number(0, "I")], layer_of(name, layers), tuple(_tensor(tensors[index]) for index in indices)
            )


def _tensor(table: Table) -> PlacedTensor:
    return PlacedTensor(TENSOR_TYPES[table.number(1, "b")], tuple(table.numbers(7, "i") or table.numbers(0, "i")))


class LackingOperator(NamedTuple):
    """An operator that a target lacks: where it stands, and the highest version that the target knows, 0 for none."""

    use: OperatorUse
    layer: str
    known: int

    @property
    def is_per_channel_dense(self) -> bool:
        """Whether one scale for all weights of the layer cures it."""
        return (self.use.name, self.use.version) == _PER_CHANNEL_DENSE

    def describe(self, target: str) -> str:
        """One clause: operator, version, layer, and what the target knows."""
        knows = f"knows it up to version {self.known}" if self.known else "does not know it"
        return f"{self.use} (layer {self.layer!r}): {release_of(target)} {knows}"


def crashes_on_arm(placed: PlacedOperator) -> bool:
    """Whether it is an int8 dense layer without a bias: input, weights and output alone."""
    return placed.use.name == "FULLY_CONNECTED" and len(placed.tensors) == 3 and placed.tensors[0].type == "INT8"


def library_of(target: str) -> str:
    """The library of a target.

    Raises:
        ExportError: no such target.
    """
    if target not in TARGETS:
        raise ExportError(f"target {target!r}, expected one of {', '.join(TARGETS)}")
    return TARGETS[target]


def release_of(target: str) -> str:
    """The distribution and release that a target's table was measured with."""
    library = library_of(target)
    return f"{LIBRARIES[library]} {MEASURED[library]}"


def find_lacking(operators: Iterable[PlacedOperator], target: str) -> list[LackingOperator]:
    """The operators that a target lacks, each once, with the first layer that needs it.

    Flex and custom operators are among them: they pass the interpreter's loading and fail when it is called.
    """
    library = library_of(target)
    first = {placed.use: placed.layer for placed in reversed(list(operators))}
    return [LackingOperator(use, first[use], version) for use, version in unknown_to(library, first)]


def refuse_lacking(lacks: Iterable[LackingOperator], recipe: str, target: str) -> None:
    """Raise an error that names every operator that is lacking and the cure; return where none is.

    Raises:
        ExportError: there is one.
    """
    lacks = list(lacks)
    if not lacks:
        return
    others = [name for name in TARGETS if name != target and all(_knows(name, lack.use) for lack in lacks)]
    cures = [f"`target={others[0]}` where the device has {release_of(others[0])}"] if others else []
    cures += ["another `mode`", "a layer or activation of other operators"]
    raise ExportError(
        f"{recipe}: {'; '.join(lack.describe(target) for lack in lacks)}; the cure is {', or '.join(cures)}"
    )


def _knows(target: str, use: OperatorUse) -> bool:
    return not use.custom and use.version in known(library_of(target)).get(use.name, ())


def runnable_library(target: str) -> tuple[str, str]:
    """(library to score with, warning): the target's own, or whichever there is and a line that says so."""
    library = library_of(target)
    try:
        return choose(library), ""
    except InterpreterError as error:
        other = LIBRARIES[choose(AUTO)]
        return AUTO, f"checked against {release_of(target)} by its table of operators, but run in {other}: {error}"
