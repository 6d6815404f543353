"""Scores samples with a TensorFlow Lite model, as a process of its own that never imports TensorFlow.

That is what a device is; and tflite-runtime 2.14 does not work after TensorFlow was imported.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np

from runtime import Classifier
from runtime.cli.app import report_progress
from runtime.errors import describe
from runtime.interpreter import LIBRARIES, choose
from runtime.native_output import held_stderr
from runtime.progress import progress

from ..data.sources import read_source

#: What a job's folder holds beside its samples: how they are described, the answers, and why there are none.
DESCRIPTION, ANSWERS, REASON = "source.json", "answers.npz", "reason"


def score(model: str, job: Path) -> None:
    """Score the samples in a job's folder; put scores, float32 (n, labels), and interpreter, text, beside them."""
    source = read_source(job, json.loads((job / DESCRIPTION).read_bytes()))
    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(model)
    count = len(source)
    scores = np.empty((count, len(classifier.contract.labels)), np.float32)
    with progress(count, f"scoring {Path(model).name}") as bar:
        for index, found in enumerate(source.map(range(count), classifier.scores)):
            scores[index] = found
            bar.update(1)
    if "tensorflow" in sys.modules:
        raise RuntimeError("TensorFlow was imported into the process that stands for a device")
    distribution = LIBRARIES[choose("auto")]
    interpreter = f"{distribution} {importlib.metadata.version(distribution)}"
    np.savez(job / ANSWERS, scores=scores, interpreter=np.array(interpreter))


if __name__ == "__main__":
    report_progress()
    try:
        score(sys.argv[1], Path(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as problem:  # whatever it is, the command tells it in its own error
        Path(sys.argv[2], REASON).write_text(describe(problem), encoding="utf-8")
        sys.exit(1)
