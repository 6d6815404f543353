"""The golden images of a model file, and what this machine's interpreters answer to them.

They are answered in a process of its own that never imports TensorFlow, as for `scoring`: tflite-runtime 2.14 does not
work after TensorFlow was imported.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Contract, InterpreterError, seal
from runtime.errors import describe
from runtime.interpreter import LIBRARIES, choose
from runtime.model_file import ModelFile, read_model
from runtime.native_output import held_stderr
from runtime.preprocessing import TensorSpec
from runtime.selftest.format import MEMBER, GoldenOutputs, SelfTest, shrink
from runtime.selftest.runner import raw_outputs, version_of

from .errors import ExportError
from .recipe import Recipe

_CANDIDATES = 16
#: Of a score, by how the file computes: (same library, other library). Integer kernels of one library give the same
#: bits on one kind of processor, on another they were 1 of 255 apart, and those of two libraries up to 12: the second
#: holds for both. The order of float additions differs between processors; arithmetic that quantizes as it goes turns
#: that into a whole step. int16x8 was not measured on other processors.
_INTEGER, _FLOAT, _MIXED = (0.0, 16 / 255), (1e-4, 1e-3), (16 / 255, 16 / 255)
_TOLERANCES = {"float32": _FLOAT, "float16": _FLOAT, "dynamic": _MIXED, "int8": _INTEGER, "int16x8": _MIXED}
_PACKAGE_ROOT = Path(__file__).resolve().parents[1]


def golden_files(flatbuffer: bytes, contract: Contract, recipe: Recipe, pixels: npt.NDArray[Any]) -> dict[str, bytes]:
    """The archive member that holds a file's self-test, by its name.

    Args:
        flatbuffer: what will be sealed.
        pixels: images or vectors to choose from, as in `calibration.Calibration`.

    Raises:
        ExportError: no interpreter of this machine answers.
    """
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(seal(flatbuffer, contract))
        spread = np.linspace(0, len(pixels) - 1, min(len(pixels), _CANDIDATES)).astype(int)
        np.save(folder / "images.npy", np.stack([shrink(pixels[index]) for index in spread]))
        command = [sys.executable, "-m", "exporter.selftest", str(folder), recipe.mode]
        # Run from where the package lies, so that no file of the user's folder can be imported in its place.
        done = subprocess.run(command, cwd=_PACKAGE_ROOT, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise ExportError(f"{recipe.name}: no self-test can be made for it: {reason[-1]}")
        return {MEMBER: (folder / MEMBER).read_bytes()}


def make_selftest(file: ModelFile, images: npt.NDArray[Any], mode: str) -> SelfTest:
    """Run stored images in every interpreter that is here and takes the model, and keep those that tell most.

    Raises:
        InterpreterError: none does.
    """
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
            kept = _telling(outputs, tensor)
            outputs = outputs[kept]
        found.append(GoldenOutputs(library, version_of(library), platform.machine(), outputs))
    if not found:
        raise refused
    return SelfTest(images[kept], tuple(found), *_TOLERANCES[mode])


def _telling(outputs: npt.NDArray[np.generic], tensor: TensorSpec) -> npt.NDArray[np.int64]:
    """Indices of the images that tell most: the surest of two classes, and the least sure of all.

    A sure answer shows an interpreter that is wrong altogether; one on the border, where no score is saturated, shows
    the least difference in rounding.
    """
    scores = tensor.dequantize(outputs)
    ordered = np.sort(scores, axis=1)
    margins = np.abs(ordered[:, -1] - ordered[:, -2]) if scores.shape[1] > 1 else np.abs(scores[:, 0] - 0.5)
    answers = scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] > 0.5
    order = np.argsort(-margins, kind="stable")
    others = order[answers[order] != answers[order[0]]]
    chosen = [order[0], *others[:1], order[-1]]
    return np.array(list(dict.fromkeys(chosen)), np.int64)


def _child(folder: Path, mode: str) -> None:
    file, images = read_model(folder / "model.tflite"), np.load(folder / "images.npy", allow_pickle=False)
    with held_stderr():  # the interpreters announce their delegates
        made = make_selftest(file, images, mode)
    (folder / MEMBER).write_bytes(made.to_json())


if __name__ == "__main__":
    try:
        _child(Path(sys.argv[1]), sys.argv[2])
    except Exception as problem:
        sys.exit(describe(problem))
