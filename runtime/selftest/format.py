"""The self-test inside a model file: a few inputs, and the outputs of the workstation's interpreters for them.

Images are stored with few pixels, vectors of features as they are. `exporter.selftest` makes the self-test, and
`runner` runs it. Reading is strict, since a seal shows damage but no malice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..contract import Contract
from ..encoded_arrays import decode_array, encode_array, require
from ..errors import ModelFileError
from ..features import refuse_implausible
from ..input_spec import InputSpec
from ..interpreter import LIBRARIES
from ..model_file import ModelFile

MEMBER = "selftest.json"
MAX_BYTES = 4 * 2**20
MAX_IMAGES = 8
#: Pixels on a side of a stored image, at most; a writer keeps to `_STORED_VALUES` as well: 18 on a side in colour.
_MAX_STORED_SIDE, _STORED_VALUES = 32, 32 * 32

_FORMAT, _VERSION = "pocketlens-selftest", 1
_FIELDS = {"format", "version", "shape", "images", "same_tolerance", "other_tolerance", "answers"}
_ANSWER_FIELDS = {"library", "version", "machine", "dtype", "outputs"}
_TYPES = ("float32", "uint8", "int8")
_MAX_TEXT = 100


class GoldenOutputs(NamedTuple):
    """The outputs of one interpreter on the workstation.

    Attributes:
        library, version: the interpreter library, one of `interpreter.LIBRARIES`, and its version.
        machine: the workstation's processor, from `platform.machine()`.
        outputs: the content of the output tensor, shape (images, outputs).
    """

    library: str
    version: str
    machine: str
    outputs: npt.NDArray[Any]


class SelfTest(NamedTuple):
    """The self-test of a model file.

    Attributes:
        images: uint8, shape (images, height, width, channels), sides up to 32 pixels; for a model that takes features
            float64, shape (images, features).
        answers: one entry for each interpreter of the workstation, at least one.
        same_tolerance: the largest difference of a score from the same library; 0 asks for identical bits on the same
            kind of processor.
        other_tolerance: the largest difference of a score from another library.
    """

    images: npt.NDArray[Any]
    answers: tuple[GoldenOutputs, ...]
    same_tolerance: float
    other_tolerance: float

    def to_json(self) -> bytes:
        """The self-test as JSON: the same bytes for the same values."""
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "shape": list(self.images.shape),
            "images": encode_array(self.images),
            "same_tolerance": self.same_tolerance,
            "other_tolerance": self.other_tolerance,
            "answers": [
                {**given._asdict(), "dtype": given.outputs.dtype.name, "outputs": encode_array(given.outputs)}
                for given in self.answers
            ],
        }
        return json.dumps(document).encode()


def shrink(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Subsample (height, width, channels) to sides of 32 pixels at most, or 18 in colour; a vector stays as it is."""
    if pixels.ndim == 1:
        return pixels
    # Of the pixels that `enlarge` repeats, the first.
    picked = [-(-np.arange(short) * long // short) for long, short in _sides(pixels.shape)]
    found: npt.NDArray[Any] = pixels[np.ix_(*picked)]
    return found


def enlarge(image: npt.NDArray[Any], spec: InputSpec) -> npt.NDArray[Any]:
    """Repeat stored pixels to fill a model's input, shape (height, width, channels); a vector stays as it is."""
    if spec.kind == "features":
        return image
    rows = np.arange(spec.height) * image.shape[0] // spec.height
    columns = np.arange(spec.width) * image.shape[1] // spec.width
    found: npt.NDArray[Any] = image[np.ix_(rows, columns)]
    return found


def _sides(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    most = math.isqrt(_STORED_VALUES // shape[2])
    return [(long, min(long, most)) for long in shape[:2]]


def read_selftest(file: ModelFile) -> SelfTest:
    """Read the self-test of a model file.

    Raises:
        ModelFileError: the file has none, or it is not as the exporter writes it.
    """
    text = file.member(MEMBER, MAX_BYTES)
    if text is None:
        raise ModelFileError(f"{file.name}: carries no self-test; export it again with this version of Pocketlens")
    try:
        return _parse(json.loads(text), file.contract)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ModelFileError(f"{file.name}: its self-test cannot be read ({error}); export it again") from error


def _parse(document: Any, contract: Contract) -> SelfTest:
    require(isinstance(document, dict) and document.get("format") == _FORMAT, "it is none")
    require(document.get("version") == _VERSION, f"version {document.get('version')!r}, expected {_VERSION}")
    require(set(document) == _FIELDS, "other fields than expected")
    images = _parse_images(document["images"], document["shape"], contract.input)
    tolerances = [document["same_tolerance"], document["other_tolerance"]]
    require(all(type(n) in (int, float) and 0 <= n <= 1 for n in tolerances), "tolerances, expected 0 to 1")
    answers = document["answers"]
    require(isinstance(answers, list) and 1 <= len(answers) <= len(LIBRARIES), "number of answers")
    parsed = tuple(_parse_answers(found, (len(images), contract.outputs)) for found in answers)
    return SelfTest(images, parsed, float(tolerances[0]), float(tolerances[1]))


def _parse_images(text: Any, shape: Any, spec: InputSpec) -> npt.NDArray[Any]:
    most = list(spec.shape)
    if spec.kind == "image":
        most[:2] = (min(side, _MAX_STORED_SIDE) for side in most[:2])
    least = most if spec.kind == "features" else [1, 1, most[2]]
    require(isinstance(shape, list) and all(type(n) is int for n in shape), "shape of the images")
    require(len(shape) == 1 + len(most) and 1 <= shape[0] <= MAX_IMAGES, "shape of the images")
    require(all(a <= n <= b for a, n, b in zip(least, shape[1:], most, strict=True)), "shape of the images")
    images = decode_array(text, "float64" if spec.kind == "features" else "uint8", tuple(shape))
    if spec.kind == "features":
        refuse_implausible(images, spec, lambda row: f"vector {row}")
    return images


def _parse_answers(found: Any, shape: tuple[int, int]) -> GoldenOutputs:
    require(isinstance(found, dict) and set(found) == _ANSWER_FIELDS, "fields of an answer")
    texts: Mapping[str, Any] = {name: found[name] for name in ("library", "version", "machine", "dtype")}
    for name, text in texts.items():
        require(isinstance(text, str) and len(text) <= _MAX_TEXT and text.isprintable(), name)
    require(texts["library"] in LIBRARIES, "library")
    require(texts["dtype"] in _TYPES, "dtype")
    outputs = decode_array(found["outputs"], texts["dtype"], shape)
    require(bool(np.isfinite(outputs).all()), "outputs are not numbers")
    return GoldenOutputs(texts["library"], texts["version"], texts["machine"], outputs)
