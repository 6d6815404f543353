"""Golden images inside a model file: does this interpreter, on this processor, give what the workstation saw?

The exporter stores a few images as small pixels, and what each of its interpreters answered to them, as the output
tensor holds it. The device enlarges the same pixels by repeating them, which no library can do otherwise, scales them
as for any picture, runs the model, and compares.
"""

from __future__ import annotations

import base64
import binascii
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import interpreter as interpreters
from .contract import Contract, ImageInput
from .errors import InterpreterError, ModelFileError
from .model_file import ModelFile, ModelSource, read_model
from .preprocessing import Preprocessor, TensorSpec

MEMBER = "selftest.json"
MAX_BYTES = 4 * 2**20
MAX_IMAGES = 8
#: Sides of the stored pixels, at most.
MAX_SIDE = 32

_FORMAT, _VERSION = "pocketlens-selftest", 1
_FIELDS = {"format", "version", "shape", "images", "same_tolerance", "other_tolerance", "answers"}
_ANSWER_FIELDS = {"library", "version", "machine", "dtype", "outputs"}
_TYPES = ("float32", "uint8", "int8")
_MAX_TEXT = 100
#: Its integer results are the same on every processor; those of the other were seen to be on one kind of processor.
_PORTABLE = "tflite_runtime"


class Answers(NamedTuple):
    """What one interpreter answered on the workstation.

    Attributes:
        library, version: the interpreter's; the library as in `interpreter.LIBRARIES`.
        machine: the workstation's processor, as `platform.machine()` says it.
        outputs: as the output tensor held them, shape (images, outputs).
    """

    library: str
    version: str
    machine: str
    outputs: npt.NDArray[Any]


class SelfTest(NamedTuple):
    """What a model file carries for its self-test.

    Attributes:
        images: uint8, shape (images, height, width, channels), sides up to 32 pixels.
        answers: one entry for each interpreter of the workstation, at least one.
        same_tolerance: of a score, where the same library answers; 0 asks for the very same bits.
        other_tolerance: where another library answers.
    """

    images: npt.NDArray[np.uint8]
    answers: tuple[Answers, ...]
    same_tolerance: float
    other_tolerance: float

    def to_json(self) -> bytes:
        """The same bytes for the same values."""
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "shape": list(self.images.shape),
            "images": _encode(self.images),
            "same_tolerance": self.same_tolerance,
            "other_tolerance": self.other_tolerance,
            "answers": [
                {**given._asdict(), "dtype": given.outputs.dtype.name, "outputs": _encode(given.outputs)}
                for given in self.answers
            ],
        }
        return json.dumps(document).encode()


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


def _standard(test: SelfTest, library: str, machine: str, delegate: str | None) -> tuple[Answers, float]:
    """Which answers to compare with, and how far from them a score may be."""
    same = [answers for answers in test.answers if answers.library == library]
    wanted = same[0] if same else test.answers[0]
    close = bool(same) and delegate is None and (library == _PORTABLE or wanted.machine == machine)
    return wanted, test.same_tolerance if close else test.other_tolerance


def version_of(library: str) -> str:
    """The installed version of an interpreter library."""
    try:
        return importlib.metadata.version(interpreters.LIBRARIES[library])
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def raw_outputs(
    file: ModelFile,
    images: npt.NDArray[np.uint8],
    library: str,
    delegate: str | None = None,
    num_threads: int = 1,
) -> tuple[npt.NDArray[Any], TensorSpec]:
    """What an interpreter answers to stored pixels: the output tensor's content, (images, outputs), and the tensor.

    Raises:
        InterpreterError: it refuses the model, or fails.
        ModelFileError: the tensors are not what the contract says.
    """
    engine = interpreters.build(file.content, num_threads, library, delegate)
    given = TensorSpec.from_details(engine.get_input_details()[0])
    output = TensorSpec.from_details(engine.get_output_details()[0])
    if given.shape != (1, *file.contract.input.shape):
        raise ModelFileError(f"{file.name}: input of shape {given.shape}, its contract says another; export it again")
    prepare = Preprocessor(file.contract.input, given)
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


def shrink(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Every so manieth pixel of (height, width, channels), so that no side is longer than 32."""
    # The first of those that `enlarge` makes of each.
    picked = [-(-np.arange(short) * long // short) for long, short in _sides(pixels.shape)]
    found: npt.NDArray[np.uint8] = pixels[np.ix_(*picked)]
    return found


def enlarge(image: npt.NDArray[np.uint8], spec: ImageInput) -> npt.NDArray[np.uint8]:
    """Stored pixels, repeated to fill a model's input: shape (height, width, channels)."""
    rows = np.arange(spec.height) * image.shape[0] // spec.height
    columns = np.arange(spec.width) * image.shape[1] // spec.width
    found: npt.NDArray[np.uint8] = image[np.ix_(rows, columns)]
    return found


def _sides(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(long, min(long, MAX_SIDE)) for long in shape[:2]]


def read_selftest(file: ModelFile) -> SelfTest:
    """The self-test of a model file.

    Raises:
        ModelFileError: it carries none, or one that is not as the exporter writes it.
    """
    text = file.member(MEMBER, MAX_BYTES)
    if text is None:
        raise ModelFileError(f"{file.name}: carries no self-test; export it again with this version of Pocketlens")
    try:
        return _parse(json.loads(text), file.contract)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{file.name}: its self-test cannot be read ({error}); export it again") from error


def _parse(document: Any, contract: Contract) -> SelfTest:
    _demand(isinstance(document, dict) and document.get("format") == _FORMAT, "it is none")
    _demand(document.get("version") == _VERSION, f"version {document.get('version')!r}, expected {_VERSION}")
    _demand(set(document) == _FIELDS, "other fields than expected")
    shape = document["shape"]
    _demand(isinstance(shape, list) and len(shape) == 4 and all(type(n) is int for n in shape), "shape of the images")
    spec = contract.input
    wanted = [short for _, short in _sides(spec.shape)]
    _demand(1 <= shape[0] <= MAX_IMAGES and shape[1:] == [*wanted, spec.channels], "shape of the images")
    images = _decode(document["images"], "uint8", tuple(shape))
    tolerances = [document["same_tolerance"], document["other_tolerance"]]
    _demand(all(type(n) in (int, float) and 0 <= n <= 1 for n in tolerances), "tolerances, expected 0 to 1")
    answers = document["answers"]
    _demand(isinstance(answers, list) and 1 <= len(answers) <= len(interpreters.LIBRARIES), "number of answers")
    parsed = tuple(_parse_answers(found, (shape[0], contract.outputs)) for found in answers)
    return SelfTest(images, parsed, float(tolerances[0]), float(tolerances[1]))


def _parse_answers(found: Any, shape: tuple[int, int]) -> Answers:
    _demand(isinstance(found, dict) and set(found) == _ANSWER_FIELDS, "fields of an answer")
    texts: Mapping[str, Any] = {name: found[name] for name in ("library", "version", "machine", "dtype")}
    for name, text in texts.items():
        _demand(isinstance(text, str) and len(text) <= _MAX_TEXT and text.isprintable(), name)
    _demand(texts["library"] in interpreters.LIBRARIES, "library")
    _demand(texts["dtype"] in _TYPES, "dtype")
    outputs = _decode(found["outputs"], texts["dtype"], shape)
    _demand(bool(np.isfinite(outputs).all()), "outputs are not numbers")
    return Answers(texts["library"], texts["version"], texts["machine"], outputs)


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _encode(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def _decode(text: Any, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Raises ValueError where the text does not hold exactly so many values."""
    _demand(isinstance(text, str), "values are no text")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"values are no base64: {error}") from error
    wanted = np.dtype(dtype).newbyteorder("<")
    _demand(len(data) == int(np.prod(shape)) * wanted.itemsize, "number of values")
    return np.frombuffer(data, wanted).reshape(shape).astype(dtype)
