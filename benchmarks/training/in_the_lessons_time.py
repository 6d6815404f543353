"""Our presets beside the lesson's Dense(128), in the time that it takes for its ten epochs on the same machine.

Fashion-MNIST, the publisher's split; a process each, one after the other. A preset is to be above the lesson's own test
accuracy by 0.01.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.timing import ROOT
from benchmarks.training.contest import LESSON, OURS
from benchmarks.training.table import Row

_GAIN = 0.01


def rows(_rounds: int) -> Iterator[Row]:
    """The lesson, and each preset; once, since each is a whole training."""
    first = contest(LESSON, 0)
    yield Row("the lesson's Dense(128), 10 epochs", figures(first), first["accuracy"], "", True)
    for name in OURS:
        found = contest(name, first["seconds"])
        gain = found["accuracy"] - first["accuracy"]
        yield Row(f"{name} in its time", figures(found), gain, f">= {_GAIN} more accuracy", gain >= _GAIN)


def figures(found: dict[str, Any]) -> dict[str, float]:
    """What is told of a contestant."""
    told = {"test accuracy (%)": 100 * found["accuracy"], "seconds": found["seconds"]}
    return told | {"processor seconds": found["processor"], "epochs": found["epochs"], "steps": found["steps"]}


def contest(name: str, seconds: float, seed: int = 0) -> dict[str, Any]:
    """What one contestant reached, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training.contest", name, str(seconds), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {name}: {done.stderr.strip().splitlines()[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
