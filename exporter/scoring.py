"""Scores a model on a run's test split, as a process of its own that never imports TensorFlow.

That is what a device is; and tflite-runtime 2.14 does not work after TensorFlow was imported.
"""

from __future__ import annotations

import importlib.metadata
import sys
import time
from pathlib import Path

import numpy as np

from runtime import Classifier
from runtime.command_line import progress
from runtime.errors import describe
from runtime.interpreter import LIBRARIES, choose
from runtime.quiet import held_stderr

from .run import read_run

_WARM_UP = 10


def score(model: Path, run_folder: Path, out: Path) -> None:
    """Write to `out` (.npz) the scores, float32 (n, labels), and the seconds, float64 (n,), of each test image."""
    run = read_run(run_folder)
    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(model)
    test = run.splits["test"]
    scores = np.empty((len(test), len(run.contract.labels)), np.float32)
    seconds = np.empty(len(test))
    for index in test[:_WARM_UP]:
        classifier.scores(run.images[int(index)])
    with progress(len(test), f"scoring {model.name}") as bar:
        for row, index in enumerate(test):
            image = run.images[int(index)]
            started = time.perf_counter()
            scores[row] = classifier.scores(image)
            seconds[row] = time.perf_counter() - started
            bar.update(1)
    if "tensorflow" in sys.modules:
        raise RuntimeError("TensorFlow was imported into the process that stands for a device")
    library = LIBRARIES[choose()]
    interpreter = f"{library} {importlib.metadata.version(library)}"
    np.savez(out, scores=scores, seconds=seconds, interpreter=np.array(interpreter))


if __name__ == "__main__":
    try:
        score(*map(Path, sys.argv[1:4]))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as problem:
        sys.exit(describe(problem))
