"""What the scoring worker does: it runs TensorFlow Lite models on samples, as a device does.

These functions are called in a child process that never imports TensorFlow. That is what a device is; and
tflite-runtime 2.14 does not work after TensorFlow was imported. `scoring` is the parent's side.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Classifier, Contract, load_pixels
from runtime.features import load_vector
from runtime.input_spec import InputSpec
from runtime.interpreter import LIBRARIES, build, choose
from runtime.progress import Silent, progress
from runtime.thread_map import ordered_map

from ..data.sources import Source, read_source
from .corruptions import VERSIONS, corrupted_versions
from .predictions import Scores

#: The file in a folder of samples that describes them, as `Source.write` returns it.
DESCRIPTION = "source.json"
#: Decoded samples that are held in memory, of all splits together; those of further splits lie in temporary files.
_MAX_BYTES_IN_MEMORY = 256 * 2**20
#: Samples that a thread scores before it takes others: many enough that the taking costs nothing.
_CHUNK = 16
_WARM_UP = 10


class DecodedSamples:
    """The samples of one split as a model takes them. Each is decoded once, when it is first needed.

    Threads may ask for different samples at the same time.

    Args:
        source: the samples.
        spec: what the model takes.
        room: bytes of memory that may be filled; more samples lie in a temporary file.
    """

    def __init__(self, source: Source, spec: InputSpec, room: int) -> None:
        self.spec = spec
        self._source = source
        dtype = np.dtype(np.float64 if spec.kind == "features" else np.uint8)
        size = len(source) * math.prod(spec.shape) * dtype.itemsize
        self.bytes_in_memory = size if size <= room else 0
        shape = (len(source), *spec.shape)
        self._values = np.empty(shape, dtype) if size <= room else _map_file(shape, dtype, size)
        self._is_ready = np.zeros(len(source), bool)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        """One sample, with an axis for the batch: uint8 (1, height, width, channels) or float64 (1, features)."""
        if self._values is not None and self._is_ready[index]:
            return self._values[index : index + 1]
        sample: Any = self._source.sample(index)
        decoded = (load_vector(sample, self.spec) if self.spec.kind == "features" else load_pixels(sample, self.spec))[
            np.newaxis
        ]
        if self._values is not None:
            self._values[index] = decoded[0]
            self._is_ready[index] = True
        return decoded

    def batch(self, rows: range) -> npt.NDArray[Any]:
        """Several samples, in one array."""
        return np.concatenate([self[row] for row in rows])


def _map_file(shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> npt.NDArray[Any] | None:
    """An array in a temporary file; None where the disk is full."""
    with tempfile.TemporaryFile(prefix="pocketlens-") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # a mapped file that cannot grow would kill the process
        except OSError:
            return None
        # As a plain array, since numpy's memmap costs microseconds at each access.
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


#: The splits in use, by the folder of their samples.
_decoded: dict[str, DecodedSamples] = {}


def decoded_samples(folder: str, spec: InputSpec) -> DecodedSamples:
    """The samples that `ScoringWorker.add_samples` put into a folder, as a model with this input takes them."""
    found = _decoded.get(folder)
    if found is None or found.spec != spec:
        _decoded.pop(folder, None)
        room = _MAX_BYTES_IN_MEMORY - sum(samples.bytes_in_memory for samples in _decoded.values())
        found = _decoded[folder] = DecodedSamples(_read_samples(folder), spec, room)
    return found


def _read_samples(folder: str) -> Source:
    return read_source(Path(folder), json.loads((Path(folder) / DESCRIPTION).read_bytes()))


def score_samples(
    model: str, contract: str | None, library: str, samples: str, out: str, label: str, trusted: bool = False
) -> dict[str, Any]:
    """Score samples on all processor cores, one interpreter a thread.

    Args:
        model: path of a model file; of a bare FlatBuffer where `contract` is given.
        contract: as JSON; without it the file carries its own.
        library: the interpreter's, as `Classifier` takes it.
        samples: their folder.
        out: where to write an `.npz` with `scores`, float32 (n, labels), and `uncalibrated`, the same without the
            temperature of the contract.
        label: of the progress that is shown; "" for none.
        trusted: as `Classifier` takes it.

    Returns:
        `interpreter`, its name and version; `output_step`, the scale of the output tensor, 0 where it is float.
    """
    classifier = device_classifier(model, contract, library, trusted)
    decoded = decoded_samples(samples, classifier.contract.input)
    scores = np.empty((len(decoded), len(classifier.contract.labels)), np.float32)
    uncalibrated = scores if classifier.contract.confidence.temperature == 1 else np.empty_like(scores)
    scale = classifier.preprocessor.scale

    def score(rows: range) -> int:
        for row in rows:
            stored = classifier.run_tensor(scale(decoded[row]))
            scores[row] = classifier.interpret(stored)
            if uncalibrated is not scores:
                uncalibrated[row] = classifier.interpret(stored, calibrated=False)
        return len(rows)

    count = len(decoded)
    chunks = (range(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK))
    _report(ordered_map(score, chunks, os.cpu_count() or 1), count, label)
    return _finish(classifier, library, out, scores, uncalibrated)


def score_corrupted(
    model: str, library: str, samples: str, out: str, label: str, seed: int, trusted: bool = False
) -> dict[str, Any]:
    """Score images under every corruption; no more of them is in memory than one a thread.

    Args:
        model, library, samples, label, trusted: as for `score_samples`.
        out: where to write an `.npz` with `scores`, float32 (n, versions, labels): those of `corrupted_versions`.
        seed: of what is drawn at random.

    Returns:
        As `score_samples`.
    """
    classifier = device_classifier(model, None, library, trusted)
    spec = classifier.contract.image_input
    decoded = decoded_samples(samples, spec)
    scores = np.empty((len(decoded), VERSIONS, len(classifier.contract.labels)), np.float32)
    scale = classifier.preprocessor.scale

    def score(row: int) -> int:
        for place, version in enumerate(corrupted_versions(decoded[row][0], seed, colour=spec.colour)):
            scores[row, place] = classifier.interpret(classifier.run_tensor(scale(version[np.newaxis])))
        return 1

    _report(ordered_map(score, range(len(decoded)), os.cpu_count() or 1), len(decoded), label)
    return _finish(classifier, library, out, scores, scores)


def _report(done: Iterator[int], count: int, label: str) -> None:
    """Report the progress of `count` steps while they are taken; not without a label."""
    with (progress if label else Silent)(count, label) as bar:
        for number in done:
            bar.update(number)


def _finish(classifier: Classifier, library: str, out: str, scores: Scores, uncalibrated: Scores) -> dict[str, Any]:
    """Write the scores; what scored them."""
    refuse_tensorflow()
    np.savez(out, scores=scores, uncalibrated=uncalibrated)
    distribution = LIBRARIES[choose(library)]
    version = importlib.metadata.version(distribution)
    return {"interpreter": f"{distribution} {version}", "output_step": classifier.output.scale}


def time_calls(model: str, library: str, samples: str, most: int, trusted: bool = False) -> dict[str, float]:
    """How long one call takes, alone and in one thread: the decoding of the sample, the model, and its scores.

    Args:
        model, library, samples, trusted: as for `score_samples`.
        most: so many samples are timed at most, the first of the split.

    Returns:
        `median` and `p95` in milliseconds.
    """
    classifier, source = device_classifier(model, None, library, trusted), _read_samples(samples)
    for index in range(min(_WARM_UP, len(source))):
        classifier.scores(source.sample(index))
    seconds = np.empty(min(most, len(source)))
    for index in range(len(seconds)):
        sample = source.sample(index)
        started = time.perf_counter()
        classifier.scores(sample)
        seconds[index] = time.perf_counter() - started
    median, p95 = (round(float(np.percentile(seconds, q)) * 1000, 4) for q in (50, 95))
    return {"median": median, "p95": p95}


def device_classifier(model: str, contract: str | None, library: str, trusted: bool = False) -> Classifier:
    """A model file, or a bare FlatBuffer with its contract as JSON; arguments as for `score_samples`."""
    if contract is None:
        return Classifier(model, interpreter=library, trusted=trusted)
    return Classifier.from_interpreter(
        Contract.from_json(contract), partial(build, Path(model).read_bytes(), library=library)
    )


def refuse_tensorflow() -> None:
    """Raise an error if TensorFlow was imported into this process.

    Raises:
        RuntimeError: it was.
    """
    if "tensorflow" in sys.modules:
        raise RuntimeError("TensorFlow was imported into the process that stands for a device")
