"""Compares scoring with a bare interpreter loop: `python -m benchmarks.scoring_overhead RUN MODEL`.

Both score the run's whole test split, alternately and in one process. The loop does what a script without Pocketlens
would do with the array of images: scale, set_tensor, invoke, get_tensor. Scoring also builds the classifier, decodes
the images, shares the work among threads and writes the scores. The figure is the processor time of all threads
together, which depends less on a busy machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from runtime import Classifier
from runtime.interpreter import build
from trainer.data.run_folder import read_run
from trainer.data.sources import ArraySource
from trainer.evaluation.scoring import ScoringWorker
from trainer.evaluation.worker import score_samples

BOUND = 1.2
_ROUNDS = 5


def measure(run_folder: Path, model: Path) -> tuple[float, float]:
    """Median processor seconds of (scoring, bare loop).

    Args:
        run_folder: a run whose images are an array of the input's size.
        model: a float32 model, or an int8 model that takes raw pixels.
    """
    run = read_run(run_folder)
    if not isinstance(run.source, ArraySource):
        sys.exit("the loop needs a run whose images are an array, such as Fashion-MNIST's")
    images = run.source.images
    classifier, interpreter = Classifier(model), build(model.read_bytes())
    given, answer = classifier.input, classifier.output
    mean, std = np.float32(run.contract.input.mean[0]), np.float32(run.contract.input.std[0])

    def bare() -> None:
        chosen = run.splits["test"]
        scores = np.empty((len(chosen), answer.shape[1]), answer.dtype)
        for row, index in enumerate(chosen):
            pixels = images[index].reshape(given.shape)
            tensor = pixels if given.is_quantized else (pixels.astype(np.float32) - mean) / std
            interpreter.set_tensor(given.index, tensor)
            interpreter.invoke()
            scores[row] = interpreter.get_tensor(answer.index)

    with ScoringWorker() as worker:  # only its folder is used: the function is called in this process
        samples, out = worker.add_samples(run.source.select(run.splits["test"])), worker.folder / "scores.npz"
        arguments = (str(model), None, "auto", str(samples), str(out), "")
        times = [(_seconds(lambda: score_samples(*arguments)), _seconds(bare)) for _ in range(_ROUNDS)]
    scoring, loop = np.median(np.array(times), axis=0).tolist()
    return scoring, loop


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    scoring, loop = measure(*map(Path, sys.argv[1:3]))
    print(f"scoring {scoring:.3f} s, bare loop {loop:.3f} s: {scoring / loop:.3f} times, bound {BOUND}")
    sys.exit(scoring / loop > BOUND)
