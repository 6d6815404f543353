"""Many pictures in a process of their own, to see how much memory that takes: ours, and the documentation's way."""

from __future__ import annotations

from collections import deque

from benchmarks import documentation
from benchmarks.materials import photos
from runtime import Classifier


def classify_all(model: str, paths: list[str], workers: int) -> None:
    """All the pictures, with so many workers."""
    with Classifier(model, interpreter="tflite_runtime") as classifier:
        deque(classifier.classify_batch(paths, workers=workers), maxlen=0)


def script_all(model: str, paths: list[str]) -> None:
    """The same by hand, one after the other."""
    classify = documentation.classifier(model)
    for path in paths:
        classify(path)


def main(way: str, model: str) -> None:
    """All the photos, once."""
    if way == "ours":
        classify_all(model, photos(), workers=2)
    else:
        script_all(model, photos())
