"""Runs the self-test of a model file: does this interpreter, on this processor, give the workstation's outputs?

The exporter stores a few images with few pixels, and the output tensor of each of its interpreters for them. The device
enlarges the same pixels by repeating them, which gives the same result with any library, scales them like any image,
runs the model, and compares the outputs. A model that takes features carries vectors, as they are.
"""

from __future__ import annotations

import platform
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import interpreter as interpreters
from ..errors import InterpreterError, ModelFileError
from ..model_file import ModelFile, ModelSource, read_model
from ..model_tensors import output_tensors
from ..preprocessing import TensorSpec, make_preprocessor
from ..sealed_models import check_sealed
from .format import GoldenOutputs, SelfTest, enlarge, read_selftest

#: The library whose float outputs stay within `same_tolerance` on every kind of processor. Its integer outputs have
#: the same bits on one kind only: 56 of 6,000 scores of a residual network differed by 1 of 255 from arm64 to x86-64.
_PORTABLE = "tflite_runtime"


class Outcome(NamedTuple):
    """The outcome of a self-test.

    Attributes:
        library, version, machine: what ran here.
        compared_with: library, version and machine of the stored outputs.
        images: the number of images that were run.
        different: the number of images for which any output differs.
        difference: the largest difference of a score; None if an output is NaN or infinite.
        allowed: the largest difference that passes; 0 asks for identical bits.
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
        """Whether this interpreter gives the workstation's outputs."""
        if self.allowed == 0:
            return self.different == 0
        return self.difference is not None and self.difference <= self.allowed

    def text(self) -> str:
        """One line."""
        library, version, machine = self.compared_with
        here = f"{interpreters.LIBRARIES[self.library]} {self.version} on {self.machine}"
        there = f"{interpreters.LIBRARIES[library]} {version} on {machine}"
        if self.different == 0:
            what = "bit-equal"
        elif self.difference is None:
            what = "an answer that is not a number"
        else:
            what = f"{self.different} of {self.images} images differ, a score by at most {self.difference:.2g}"
        allowed = f" ({self.allowed:.2g} allowed)" if self.different or self.allowed else " (as it must be)"
        verdict = "passed" if self.passed else "FAILED"
        return f"{verdict}: {self.images} images, {what}{allowed}; {here}, against {there}"


def run_selftest(
    model: ModelSource,
    library: str = interpreters.AUTO,
    delegate: str | None = None,
    num_threads: int = 1,
    *,
    trusted: bool = False,
) -> Outcome:
    """Run the self-test of a model file.

    Args:
        model: a path, the file's bytes, or a binary file object.
        library, delegate, num_threads, trusted: as for `Classifier`. A delegate has its own kernels, so it gets the
            tolerance of another library.

    Raises:
        ModelFileError: as `read_model` does; or the file has no self-test, or one that cannot be read.
        InterpreterError: no working interpreter is installed, or it refuses the model.

    Example:
        >>> run_selftest("int8.tflite").passed
        True
    """
    file = read_model(model)
    if not trusted:
        check_sealed(file, library, delegate)
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
        interpreters.version_of(library),
        machine,
        (wanted.library, wanted.version, wanted.machine),
        len(found),
        int((found.view(np.uint8) != wanted.outputs.view(np.uint8)).any(axis=1).sum()),
        float(apart.max()) if np.isfinite(apart).all() else None,
        allowed,
    )


def _standard(test: SelfTest, library: str, machine: str, delegate: str | None) -> tuple[GoldenOutputs, float]:
    """The stored outputs to compare with, and the largest difference of a score that passes."""
    same = [answers for answers in test.answers if answers.library == library]
    wanted = same[0] if same else test.answers[0]
    alike = wanted.machine == machine or (library == _PORTABLE and test.same_tolerance > 0)
    close = bool(same) and delegate is None and alike
    return wanted, test.same_tolerance if close else test.other_tolerance


def raw_outputs(
    file: ModelFile,
    images: npt.NDArray[Any],
    library: str,
    delegate: str | None = None,
    num_threads: int = 1,
) -> tuple[npt.NDArray[Any], TensorSpec]:
    """The output tensor's content for stored images, shape (images, outputs), and the tensor.

    Raises:
        InterpreterError: the interpreter refuses the model, or fails.
        ModelFileError: the tensors do not fit the contract.
    """
    engine = interpreters.build(file.content, num_threads, library, delegate)
    inputs, outputs = interpreters.tensor_details(engine)
    given, (output, _) = TensorSpec.from_details(inputs[0]), output_tensors(outputs, file.contract, file.name)
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
