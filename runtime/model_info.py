"""Describes the contents of a model file as plain values, for people and scripts."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from typing import Any

import numpy as np

from .archives import open_archive
from .classifier import Classifier
from .errors import ModelFileError
from .external.adopt import ExternalOptions, missing_options, refuse_ours
from .external.purpose import refuse_other_purposes, unbounded, unmet_needs
from .files import PathLike
from .interpreter import LIBRARIES, installed
from .model_file import ModelFile, is_flatbuffer, is_sealed, read_model_bytes, verify_seal
from .preprocessing import TensorSpec
from .tflite._operator_versions import MEASURED, unknown_to
from .tflite.arena import arena_bytes
from .tflite.metadata import read_metadata
from .tflite.model import Structure, check_structure
from .tflite.workload import read_workload

#: The pixel values that `inspect_model` shows on their way into the tensor.
_SHOWN_PIXELS = (0, 128, 255)


def inspect_model(
    path: PathLike, delegate: str | None = None, *, trusted: bool = False, **known: Any
) -> dict[str, Any]:
    """Contract, tensors, operators, size, digest and associated files of a model, ready for JSON.

    Args:
        path: the model file.
        delegate, trusted: as for `Classifier`.
        known: what is known of a model that Pocketlens did not make, by the names of `Classifier`'s parameters.

    Returns:
        path, bytes, sha256, sealed, operators, cost (multiply_adds, weight_bytes and arena_bytes, the memory that the
        tensors share; None if they depend on the input), outputs (the shape of each), lacking, obstacles (why it is
        no image classifier, and what it needs to run), missing and files; and, unless something is missing or an
        obstacle, contract, input, output, pixels (what the tensor stores, one value a channel, for the pixel values 0,
        128 and 255; None for features), feeds_raw_pixels and notes; for a model with an embedding also embedding, the
        number of its values, and taught, the classes that were taught to it.

    Raises:
        ModelFileError, ContractError, InterpreterError: as `Classifier` does, except for missing parameters.
    """
    content, name = read_model_bytes(path)
    sealed = is_sealed(content)
    if sealed or not is_flatbuffer(content):
        verify_seal(content, name)
    else:
        refuse_ours(content, name)
    structure = check_structure(content, name)
    metadata = read_metadata(content, structure, name)
    obstacles = [] if sealed else _obstacles(structure, name, delegate)
    if structure.unbounded and not trusted:
        obstacles.append(unbounded(structure))
    missing = [] if sealed or obstacles else missing_options(structure, metadata, ExternalOptions(**known))
    found = {
        "path": name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "sealed": sealed,
        "operators": [str(use) for use in structure.operators],
        "cost": _cost(content, structure, name),
        "outputs": [list(answer.shape) for answer in structure.outputs],
        "lacking": lacking_operators(structure, delegate),
        "obstacles": obstacles,
        "missing": missing,
        "files": _files(content, structure.end),
    }
    if missing or obstacles:
        return found
    classifier = Classifier(path, delegate=delegate, trusted=trusted, **known)
    return {
        **found,
        **_embedding(content, classifier, name),
        "contract": json.loads(classifier.contract.to_json()),
        "input": _tensor(classifier.input),
        "output": _tensor(classifier.output),
        "feeds_raw_pixels": classifier.preprocessor.feeds_raw_pixels,
        "pixels": _stored_pixels(classifier),
        "notes": list(classifier.notes),
    }


def _cost(content: bytes, structure: Structure, name: str) -> dict[str, int] | None:
    """What one call takes, from the shapes in the file; None if it depends on the input."""
    if structure.unbounded:
        return None
    work = read_workload(content, name)
    return {
        "multiply_adds": work.multiply_adds,
        "weight_bytes": work.weight_bytes,
        "arena_bytes": arena_bytes(work),
    }


def _embedding(content: bytes, classifier: Classifier, name: str) -> dict[str, Any]:
    """For a model with an embedding: `embedding`, its number of values; and `taught`, the classes taught to it."""
    if classifier.embedding is None:
        return {}
    from .teaching.format import read_taught  # here: few models have one

    contract = classifier.contract
    taught = read_taught(ModelFile(content, contract, name)).classes if contract.taught else ()
    rows = [{"label": one.label, "pictures": len(one.embeddings), "recognized": one.recognized} for one in taught]
    return {"embedding": math.prod(classifier.embedding.shape), "taught": rows}


def _obstacles(structure: Structure, name: str, delegate: str | None) -> list[str]:
    found = [unmet_needs(structure, delegate)]
    try:
        refuse_other_purposes(structure, name)
    except ModelFileError as error:
        found.append(str(error).removeprefix(f"{name}: "))
    return [text for text in found if text]


def lacking_operators(structure: Structure, delegate: str | None = None) -> list[str]:
    """The operators that the installed interpreters lack, in words, with the highest version that they know.

    A delegate may bring any custom operator, so these count as known beside one.
    """
    return [
        f"{use}: {LIBRARIES[library]} {MEASURED[library]} knows {f'it up to {highest}' if highest else 'none of it'}"
        for library in installed()
        for use, highest in unknown_to(library, structure.operators)
        if delegate is None or not use.custom
    ]


def _stored_pixels(classifier: Classifier) -> dict[str, list[float]] | None:
    """What the input tensor stores for each of `_SHOWN_PIXELS`, one value a channel."""
    spec = classifier.contract.input
    if spec.kind != "image":
        return None
    pixels = np.array(_SHOWN_PIXELS, np.uint8).reshape(1, 1, -1, 1).repeat(spec.channels, axis=-1)
    stored = classifier.preprocessor.scale(pixels)[0, 0].tolist()
    return {str(pixel): values for pixel, values in zip(_SHOWN_PIXELS, stored, strict=True)}


def _files(content: bytes, end: int) -> list[str]:
    archive = io.BytesIO(content[end:])
    if not zipfile.is_zipfile(archive):
        return []
    try:
        with open_archive(archive) as files:
            return files.namelist()
    except Exception:  # zipfile raises many kinds on hostile archives; the listing is only information
        return []


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype.name,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
    }
