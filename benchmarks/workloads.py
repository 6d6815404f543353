"""Classifies many pictures, with Pocketlens or with the documentation's script."""

from __future__ import annotations

from collections import deque

from benchmarks import documentation
from benchmarks.materials import photos
from runtime import Classifier


def classify_all(model: str, paths: list[str], workers: int) -> None:
    """Classify all pictures with a number of workers."""
    with Classifier(model, interpreter="tflite_runtime") as classifier:
        deque(classifier.classify_batch(paths, workers=workers), maxlen=0)


def script_all(model: str, paths: list[str]) -> None:
    """Classify all pictures with the script, one after the other."""
    classify = documentation.classifier(model)
    for path in paths:
        classify(path)


def main(way: str, model: str) -> None:
    """Classify all photos once, in a process of its own whose memory is measured."""
    if way == "ours":
        classify_all(model, photos(), workers=2)
    else:
        script_all(model, photos())
