"""Compares our presets with the lesson's Dense(128), in the time that its ten epochs take on the same machine.

They train on Fashion-MNIST with the publisher's split, one after the other, each in a new process. A preset must exceed
the lesson's test accuracy by 0.01.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.timing import run_module
from benchmarks.training.contest import LESSON, OURS
from benchmarks.training.table import Row

_GAIN = 0.01


def rows(_rounds: int) -> Iterator[Row]:
    """Run the lesson and each preset once, since each run is a whole training."""
    first = contest(LESSON, 0)
    yield Row("the lesson's Dense(128), 10 epochs", figures(first), first["accuracy"], "", True)
    for name in OURS:
        result = contest(name, first["seconds"])
        gain = result["accuracy"] - first["accuracy"]
        yield Row(f"{name} in its time", figures(result), gain, f">= {_GAIN} more accuracy", gain >= _GAIN)


def figures(result: dict[str, Any]) -> dict[str, float]:
    """The figures to show for a contestant's result."""
    return {
        "test accuracy (%)": 100 * result["accuracy"],
        "seconds": result["seconds"],
        "processor seconds": result["processor"],
        "epochs": result["epochs"],
        "steps": result["steps"],
    }


def contest(name: str, seconds: float, seed: int = 0) -> dict[str, Any]:
    """The result of one contestant, trained in a new process."""
    return run_module("benchmarks.training.contest", name, str(seconds), str(seed))
