"""What scoring costs over a bare interpreter loop: `python -m tests.bench.scoring_overhead RUN MODEL`.

Both answer the run's whole test split, in turns, in one process; the bare loop is given its tensors ready-made.
Processor time is measured, as both have one thread: a busy machine then matters less.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from exporter.run import read_material
from exporter.scoring import score
from runtime import Classifier
from runtime.interpreter import build

BOUND = 1.2
_ROUNDS = 3


def measure(run_folder: Path, model: Path) -> tuple[float, float]:
    """Processor seconds of (scoring, bare loop): the medians of the rounds."""
    run = read_material(run_folder)
    classifier = Classifier(model)
    chosen = run.splits["test"]
    tensors = [classifier.preprocessor(run.images[int(index)]) for index in chosen]
    interpreter = build(model.read_bytes())
    given, answer = classifier.input.index, classifier.output.index

    def bare() -> None:
        scores = np.empty((len(chosen), len(run.contract.labels)), classifier.output.dtype)
        for row, tensor in enumerate(tensors):
            interpreter.set_tensor(given, tensor)
            interpreter.invoke()
            scores[row] = interpreter.get_tensor(answer)

    with tempfile.TemporaryDirectory() as folder:
        arguments = (str(model), str(run_folder), str(Path(folder) / "scores.npz"), "test", "auto")
        times = [(_seconds(lambda: score(*arguments)), _seconds(bare)) for _ in range(_ROUNDS)]
    scoring, loop = np.median(np.array(times), axis=0).tolist()
    return scoring, loop


def _seconds(call: Callable[[], None]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    scoring, loop = measure(*map(Path, sys.argv[1:3]))
    print(f"scoring {scoring:.3f} s, bare loop {loop:.3f} s: {scoring / loop:.3f} times, bound {BOUND}")
    sys.exit(scoring / loop > BOUND)
