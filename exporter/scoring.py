"""Scores a model on one split of a run, as a process of its own that never imports TensorFlow.

That is what a device is; and tflite-runtime 2.14 does not work after TensorFlow was imported.
"""

from __future__ import annotations

import importlib.metadata
import sys
import time
from pathlib import Path

import numpy as np

from runtime import Classifier
from runtime.cli.app import report_progress
from runtime.errors import describe
from runtime.interpreter import LIBRARIES, choose
from runtime.native_output import held_stderr
from runtime.progress import progress
from trainer.data.run_folder import read_run

_WARM_UP = 10
#: Of the file beside the scores that says why there are none.
REASON_SUFFIX = ".reason"


def score(model: str, run_folder: str, out: str, split: str, library: str) -> None:
    """Score a split and write what was found to a file.

    Args:
        out: where to write scores, float32 (n, labels), and plain, the same without the contract's temperature;
            seconds, float64 (n,), of each call; step, the output's scale; interpreter, text.
        split: "train", "validation" or "test".
        library: the interpreter's, as `Classifier` takes it.
    """
    run = read_run(Path(run_folder), needs_model=False)
    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(model, interpreter=library)
    chosen = run.splits[split]
    scores = np.empty((len(chosen), len(run.contract.labels)), np.float32)
    plain, seconds = np.empty_like(scores), np.empty(len(chosen))
    for index in chosen[:_WARM_UP]:
        classifier.scores(run.source.sample(int(index)))
    with progress(len(chosen), f"scoring {Path(model).name}") as bar:
        for row, index in enumerate(chosen):
            image = run.source.sample(int(index))
            started = time.perf_counter()
            stored = classifier.run(image)  # this and the next line are what `scores` does
            scores[row] = classifier.interpret(stored)
            seconds[row] = time.perf_counter() - started
            plain[row] = classifier.interpret(stored, tempered=False)
            bar.update(1)
    if "tensorflow" in sys.modules:
        raise RuntimeError("TensorFlow was imported into the process that stands for a device")
    distribution = LIBRARIES[choose(library)]
    interpreter = f"{distribution} {importlib.metadata.version(distribution)}"
    step = classifier.output.scale
    np.savez(out, scores=scores, plain=plain, seconds=seconds, step=step, interpreter=np.array(interpreter))


if __name__ == "__main__":
    report_progress()
    try:
        score(*sys.argv[1:6])
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as problem:  # whatever it is, the exporter tells it in its own error
        Path(sys.argv[3] + REASON_SUFFIX).write_text(describe(problem), encoding="utf-8")
        sys.exit(1)
