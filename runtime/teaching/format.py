"""What a model file knows of its classes' embeddings, as members of its archive: the rehearsal, and the taught classes.

The exporter writes the rehearsal: it stands for the run's pictures, which a device does not have. `teach` writes the
taught classes. Embeddings are kept relative to the mean embedding, and with length 1, so that a product is a cosine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..contract import MAX_EMBEDDING, MAX_LABELS, Confidence
from ..encoded_arrays import decode_array, encode_array, require
from ..errors import ModelFileError
from ..model_file import ModelFile

REHEARSAL_NAME = "rehearsal.json"
TAUGHT_NAME = "taught.json"
#: Bytes of each member.
MAX_TEACHING_BYTES = 8 * 2**20
#: Pictures that a taught class keeps.
MAX_PICTURES = 200
#: Training pictures that measure the scatter within classes: a device solves as many equations.
MAX_WITHIN = 256
#: In units of `Discriminants`: two of the network's classes are 1 apart.
MAX_BIAS = 100.0

_VERSION = 1
_STORED = "float16"
_TYPES = {
    "mean": "float32",
    "prototypes": _STORED,
    "within": _STORED,
    "embeddings": _STORED,
    "scores": _STORED,
    "thumbnails": "uint8",
}
_Parsed = TypeVar("_Parsed")

Floats = npt.NDArray[np.float32]


class Rehearsal(NamedTuple):
    """The embeddings of pictures of the classes that the network was trained for.

    Attributes:
        mean: the mean embedding of training pictures, float32 (values,).
        prototypes: the mean of their directions for each class, float32 (classes, values); not of length 1.
        counts: how many pictures each of them stands for, at least 1.
        within: directions of training pictures less the prototype of their class, float32 (pictures, values).
        embeddings: the directions of pictures that a taught class is tried on, float32 (pictures, values).
        scores: the network's scores for them, without a temperature, float32 (pictures, classes).
        targets: their classes.
        held_out: whether these are validation pictures, which neither the network nor the prototypes know; otherwise
            they are training pictures, which count in their prototypes.
    """

    mean: Floats
    prototypes: Floats
    counts: tuple[int, ...]
    within: Floats
    embeddings: Floats
    scores: Floats
    targets: tuple[int, ...]
    held_out: bool

    def to_json(self) -> bytes:
        """As the archive holds it: the same bytes for the same values."""
        arrays = {name: getattr(self, name) for name in ("mean", "prototypes", "within", "embeddings", "scores")}
        document = {"format": "pocketlens-rehearsal", "version": _VERSION, **_encoded(arrays)}
        document |= {"counts": self.counts, "targets": self.targets, "held_out": self.held_out}
        return json.dumps(document).encode()


class TaughtClass(NamedTuple):
    """A class that was taught.

    Attributes:
        label: its name.
        embeddings: the directions of its pictures, float32 (pictures, values).
        scores: the network's scores for them, without a temperature, float32 (pictures, classes).
        thumbnails: uint8 (pictures, bytes), to find copies of a picture.
        recognized: how many of its pictures are recognized with prototypes that do not know them (leave-one-out).
    """

    label: str
    embeddings: Floats
    scores: Floats
    thumbnails: npt.NDArray[np.uint8]
    recognized: int = 0


class Taught(NamedTuple):
    """The taught classes of a model file, and how they are told from the others.

    Attributes:
        classes: in the order of the labels.
        bias: how much greater the discriminant of a taught class must be than that of the network's answer.
        temperature: what that difference is divided by to become one of logarithms of scores.
        confidence: the temperature and threshold of the file before any class was taught.
    """

    classes: tuple[TaughtClass, ...]
    bias: float
    temperature: float
    confidence: Confidence

    def to_json(self) -> bytes:
        """As the archive holds it: the same bytes for the same values."""
        classes = [
            {
                "label": one.label,
                "recognized": one.recognized,
                **_encoded({name: getattr(one, name) for name in ("embeddings", "scores", "thumbnails")}),
            }
            for one in self.classes
        ]
        document = {"format": "pocketlens-taught", "version": _VERSION, "bias": self.bias}
        document |= {"temperature": self.temperature, "confidence": self.confidence._asdict(), "classes": classes}
        return json.dumps(document).encode()


def directions(embeddings: npt.NDArray[Any], mean: Floats) -> Floats:
    """Embeddings relative to the mean, each of length 1; a mean embedding stays 0.

    Source: Y. Wang, W. Chao, K. Weinberger, L. van der Maaten, SimpleShot, arXiv:1911.04623 (CL2N).
    """
    return unit(embeddings.astype(np.float32) - mean)


def unit(vectors: Floats) -> Floats:
    """Vectors with length 1; those of length 0 stay so."""
    lengths = np.sqrt(np.add.reduce(np.square(vectors), axis=-1, keepdims=True))
    found: Floats = vectors / np.maximum(lengths, np.float32(1e-9))
    return found


def read_rehearsal(file: ModelFile) -> Rehearsal:
    """Read the rehearsal of a model file.

    Raises:
        ModelFileError: the file has none, or it is not as the exporter writes it.
    """
    missing = "holds nothing that a class can be taught with; export it again with `embedding`"
    return _read(file, REHEARSAL_NAME, missing, _parse_rehearsal)


def read_taught(file: ModelFile) -> Taught:
    """Read the taught classes of a model file.

    Raises:
        ModelFileError: the file has none, or they are not as `teach` writes them.
    """
    return _read(file, TAUGHT_NAME, "has lost its taught classes; teach them again", _parse_taught)


def _read(file: ModelFile, member: str, missing: str, parse: Callable[[Any, ModelFile], _Parsed]) -> _Parsed:
    text = file.member(member, MAX_TEACHING_BYTES)
    if text is None:
        raise ModelFileError(f"{file.name}: {missing}")
    try:
        return parse(json.loads(text), file)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ModelFileError(f"{file.name}: its {member} cannot be read ({error}); make the file again") from error


def _encoded(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    return {
        name: {"shape": list(values.shape), "values": encode_array(values.astype(_TYPES[name]))}
        for name, values in arrays.items()
    }


def _decoded(document: Any, name: str, shape: Sequence[int | None], most: int = MAX_LABELS) -> npt.NDArray[Any]:
    """An array of a document; None in `shape` stands for any length up to `most`."""
    found = document[name]["shape"]
    require(isinstance(found, list) and all(type(n) is int and n >= 0 for n in found), f"shape of {name}")
    require(len(found) == len(shape), f"shape of {name}")
    require(all(n <= most if wanted is None else n == wanted for n, wanted in zip(found, shape, strict=True)), name)
    stored = decode_array(document[name]["values"], _TYPES[name], tuple(found))
    require(bool(np.isfinite(stored).all()), f"{name} are not numbers")
    return stored.astype(np.float32) if stored.dtype == np.float16 else stored


def _parse_rehearsal(document: Any, file: ModelFile) -> Rehearsal:
    require(document["format"] == "pocketlens-rehearsal" and document["version"] == _VERSION, "another version")
    classes = file.contract.outputs
    mean = _decoded(document, "mean", (None,), MAX_EMBEDDING)
    prototypes = _decoded(document, "prototypes", (classes, len(mean)))
    within = _decoded(document, "within", (None, len(mean)), MAX_WITHIN)
    embeddings = _decoded(document, "embeddings", (None, len(mean)))
    scores = _decoded(document, "scores", (len(embeddings), classes))
    counts, targets, held_out = tuple(document["counts"]), tuple(document["targets"]), document["held_out"]
    require(len(counts) == classes and all(type(n) is int and n >= 1 for n in counts), "counts")
    require(len(targets) == len(embeddings) and all(type(n) is int and 0 <= n < classes for n in targets), "targets")
    require(type(held_out) is bool, "held_out")
    return Rehearsal(mean, prototypes, counts, within, embeddings, scores, targets, held_out)


def _parse_taught(document: Any, file: ModelFile) -> Taught:
    require(document["format"] == "pocketlens-taught" and document["version"] == _VERSION, "another version")
    classes = tuple(_parse_class(one, file.contract.outputs) for one in document["classes"])
    labels = file.contract.labels[file.contract.outputs :]
    require(tuple(one.label for one in classes) == labels, "other labels than in the contract")
    require(len({one.embeddings.shape[1] for one in classes}) == 1, "embeddings of several lengths")
    bias, temperature = document["bias"], document["temperature"]
    require(type(bias) is float and 0 <= bias <= MAX_BIAS, f"bias, expected 0 to {MAX_BIAS:g}")
    require(type(temperature) is float and 1e-3 <= temperature <= 10, "temperature, expected 0.001 to 10")
    return Taught(classes, bias, temperature, Confidence(**document["confidence"]))


def _parse_class(document: Any, outputs: int) -> TaughtClass:
    embeddings = _decoded(document, "embeddings", (None, None))
    require(1 <= len(embeddings) <= MAX_PICTURES, "number of pictures")
    scores = _decoded(document, "scores", (len(embeddings), outputs))
    thumbnails = _decoded(document, "thumbnails", (len(embeddings), None))
    label, recognized = document["label"], document["recognized"]
    require(isinstance(label, str) and type(recognized) is int and 0 <= recognized <= len(embeddings), "a class")
    return TaughtClass(label, embeddings, scores, thumbnails, recognized)
