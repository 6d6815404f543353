"""Golden images inside a model file: does this interpreter, on this processor, give what the workstation saw?

The exporter stores a few images as small pixels, and what each of its interpreters answered to them, as the output
tensor holds it. The device enlarges the same pixels by repeating them, which no library can do otherwise, scales them
as for any picture, runs the model, and compares. A model that takes features carries vectors, as they are.
"""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import interpreter as interpreters
from ..errors import InterpreterError, ModelFileError
from ..model_file import ModelFile, ModelSource, read_model
from ..preprocessing import TensorSpec, make_preprocessor
from .format import GoldenOutputs, SelfTest, enlarge, read_selftest

#: Its float results stay within the tolerance of one library on every kind of processor. Its integer results are the
#: same bits on one kind alone: of 6,000 scores of a residual network 56 were 1 of 255 apart on arm64 and on x86-64.
_PORTABLE = "tflite_runtime"


class Outcome(NamedTuple):
    """How a self-test ended.

    Attributes:
        library, version, machine: what ran here.
        compared_with: library, version and machine of the answers that were compared with.
        images: how many were run.
        different: on how many of them any output differs.
        difference: the largest difference of a score; None where an output is no number.
        allowed: the largest that passes; 0 asks for the very same bits.
    """

    library: str
    version: str
    machine: str
    compared_with: tuple[str, str, str]
    images: int
    different: int
    difference: float | None
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether this interpreter gives what the workstation saw."""
        if self.allowed == 0:
            return self.different == 0
        return self.difference is not None and self.difference <= self.allowed


def run_selftest(
    model: ModelSource, library: str = interpreters.AUTO, delegate: str | None = None, num_threads: int = 1
) -> Outcome:
    """Run the golden images of a model file.

    Args:
        model: a path, the file's bytes, or a binary file object.
        library, delegate, num_threads: what runs it, as for `Classifier`. With a delegate, which has kernels of its
            own, the tolerance is that of another library.

    Raises:
        ModelFileError: as `read_model` does, or it carries no self-test, or one that cannot be read.
        InterpreterError: no interpreter that works is installed, or it refuses the model.

    Example:
        >>> run_selftest("int8.tflite").passed
        True
    """
    file = read_model(model)
    test = read_selftest(file)
    library = interpreters.choose(library)
    found, output = raw_outputs(file, test.images, library, delegate, num_threads)
    machine = platform.machine()
    wanted, allowed = _standard(test, library, machine, delegate)
    if wanted.outputs.dtype != found.dtype:
        raise ModelFileError(
            f"{file.name}: its self-test expects {wanted.outputs.dtype} outputs and the model gives {found.dtype}; "
            "export it again"
        )
    apart = np.abs(output.dequantize(found) - output.dequantize(wanted.outputs))
    return Outcome(
        library,
        version_of(library),
        machine,
        (wanted.library, wanted.version, wanted.machine),
        len(found),
        int((found.view(np.uint8) != wanted.outputs.view(np.uint8)).any(axis=1).sum()),
        float(apart.max()) if np.isfinite(apart).all() else None,
        allowed,
    )


def _standard(test: SelfTest, library: str, machine: str, delegate: str | None) -> tuple[GoldenOutputs, float]:
    """Which answers to compare with, and how far from them a score may be."""
    same = [answers for answers in test.answers if answers.library == library]
    wanted = same[0] if same else test.answers[0]
    alike = wanted.machine == machine or (library == _PORTABLE and test.same_tolerance > 0)
    close = bool(same) and delegate is None and alike
    return wanted, test.same_tolerance if close else test.other_tolerance


def version_of(library: str) -> str:
    """The installed version of an interpreter library."""
    try:
        return importlib.metadata.version(interpreters.LIBRARIES[library])
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def raw_outputs(
    file: ModelFile,
    images: npt.NDArray[Any],
    library: str,
    delegate: str | None = None,
    num_threads: int = 1,
) -> tuple[npt.NDArray[Any], TensorSpec]:
    """What an interpreter answers to stored images: the output tensor's content, (images, outputs), and the tensor.

    Raises:
        InterpreterError: it refuses the model, or fails.
        ModelFileError: the tensors are not what the contract says.
    """
    engine = interpreters.build(file.content, num_threads, library, delegate)
    given = TensorSpec.from_details(engine.get_input_details()[0])
    output = TensorSpec.from_details(engine.get_output_details()[0])
    if given.shape != (1, *file.contract.input.shape):
        raise ModelFileError(f"{file.name}: input of shape {given.shape}, its contract says another; export it again")
    prepare = make_preprocessor(file.contract.input, given)
    rows = []
    for image in images:
        tensor = prepare.scale(enlarge(image, file.contract.input)[np.newaxis])
        try:
            engine.set_tensor(given.index, tensor)
            engine.invoke()
        except (RuntimeError, ValueError) as error:
            raise InterpreterError(f"{file.name}: {library} fails: {' '.join(str(error).split())}") from error
        rows.append(np.array(engine.get_tensor(output.index)).reshape(-1))
    return np.stack(rows), output
