"""What lies inside a model file, as plain values for people and scripts."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from .classifier import Classifier
from .files import PathLike
from .model_file import read_model
from .preprocessing import TensorSpec


def inspect_model(path: PathLike) -> dict[str, Any]:
    """Contract, tensors, size, digest and associated files of a model, all of it ready for JSON.

    Raises:
        ModelFileError, ContractError, InterpreterError: as `Classifier` does.
    """
    file = read_model(path)
    classifier = Classifier(file.content)
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        files = archive.namelist()
    return {
        "path": file.name,
        "bytes": len(file.content),
        "sha256": file.sha256,
        "contract": json.loads(file.contract.to_json()),
        "input": _tensor(classifier.input),
        "output": _tensor(classifier.output),
        "feeds_raw_pixels": classifier.preprocessor.feeds_raw_pixels,
        "files": files,
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype.name,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
    }
