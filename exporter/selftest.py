"""Makes the self-test of a model file: a few images, and the outputs of this machine's interpreters for them."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Contract, InterpreterError
from runtime.child_process import ChildError
from runtime.child_worker import ChildWorker
from runtime.interpreter import LIBRARIES, choose, version_of
from runtime.model_file import ModelFile
from runtime.preprocessing import TensorSpec
from runtime.selftest.format import MEMBER, GoldenOutputs, SelfTest, shrink
from runtime.selftest.runner import raw_outputs
from trainer.evaluation.worker import refuse_tensorflow

from .errors import ExportError
from .recipe import Recipe

_MAX_IMAGES_TRIED = 16
#: The largest accepted difference of a score, by the file's arithmetic: (same library, other library). Integer kernels
#: of one library give the same bits on one kind of processor. Between two kinds they differed by 1 of 255, and between
#: two libraries by up to 12; the second number is for both cases. The order of float additions differs between
#: processors, and arithmetic that quantizes in between turns that into a whole step. int16x8 was not measured on other
#: processors.
_INTEGER, _FLOAT, _MIXED = (0.0, 16 / 255), (1e-4, 1e-3), (16 / 255, 16 / 255)
_TOLERANCES = {"float32": _FLOAT, "float16": _FLOAT, "dynamic": _MIXED, "int8": _INTEGER, "int16x8": _MIXED}


def make_selftest_member(
    worker: ChildWorker, model: Path, contract: Contract, recipe: Recipe, samples: npt.NDArray[Any]
) -> dict[str, bytes]:
    """The archive member that holds a file's self-test, by its name.

    Args:
        worker: runs the model, in a process without TensorFlow.
        model: the FlatBuffer, in a file.
        samples: the images or vectors to choose from, as in `RepresentativeDataset`.

    Raises:
        ExportError: no interpreter of this machine runs the model.
    """
    spread = np.linspace(0, len(samples) - 1, min(len(samples), _MAX_IMAGES_TRIED)).astype(int)
    images, out = worker.folder / "selftest.npy", worker.folder / MEMBER
    np.save(images, np.stack([shrink(samples[index]) for index in spread]))
    arguments = (str(model), contract.to_json(), recipe.mode, str(images), str(out))
    try:
        worker.submit("exporter.selftest:write_selftest", *arguments).result()
    except ChildError as error:
        raise ExportError(f"{recipe.name}: no self-test can be made for it: {error}") from error
    return {MEMBER: out.read_bytes()}


def write_selftest(model: str, contract: str, mode: str, images: str, out: str) -> None:
    """Run stored images in every interpreter that is installed and takes the model; write the most informative as JSON.

    The scoring worker calls this.

    Raises:
        InterpreterError: no interpreter takes the model.
    """
    path = Path(model)
    file = ModelFile(path.read_bytes(), Contract.from_json(contract), path.name)
    made = _make_selftest(file, np.load(images, allow_pickle=False), mode)
    refuse_tensorflow()
    Path(out).write_bytes(made.to_json())


def _make_selftest(file: ModelFile, images: npt.NDArray[Any], mode: str) -> SelfTest:
    found: list[GoldenOutputs] = []
    kept = np.arange(len(images))
    refused = InterpreterError("no TensorFlow Lite interpreter is installed")
    for library in LIBRARIES:
        try:
            outputs, tensor = raw_outputs(file, images[kept], choose(library), None)
        except InterpreterError as error:
            refused = error
            continue
        if not found:
            kept = _most_informative(outputs, tensor)
            outputs = outputs[kept]
        found.append(GoldenOutputs(library, version_of(library), platform.machine(), outputs))
    if not found:
        raise refused
    return SelfTest(images[kept], tuple(found), *_TOLERANCES[mode])


def _most_informative(outputs: npt.NDArray[np.generic], tensor: TensorSpec) -> npt.NDArray[np.int64]:
    """Indices of the most informative images: the most confident ones of two classes, and the least confident one.

    A confident prediction reveals an interpreter that is completely wrong. One close to the decision boundary, where no
    score is saturated, reveals the smallest difference in rounding.
    """
    scores = tensor.dequantize(outputs)
    ordered = np.sort(scores, axis=1)
    margins = np.abs(ordered[:, -1] - ordered[:, -2]) if scores.shape[1] > 1 else np.abs(scores[:, 0] - 0.5)
    labels = scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] > 0.5
    order = np.argsort(-margins, kind="stable")
    others = order[labels[order] != labels[order[0]]]
    chosen = [order[0], *others[:1], order[-1]]
    return np.array(list(dict.fromkeys(chosen)), np.int64)
