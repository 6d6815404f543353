"""Taking times in turn, so that whatever else the machine does falls on all alike."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def interleaved(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median seconds of each call, taken in turn, after a tenth of the rounds to warm up."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(max(2, rounds // 10)):
        for call in calls:
            call()
    gc.disable()
    for _ in range(rounds):
        for call, seconds in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    gc.enable()
    return [statistics.median(seconds) for seconds in times]


def process(command: Sequence[str]) -> Callable[[], None]:
    """A call that runs a command to its end."""

    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


def peak_memory(module: str, *arguments: str) -> float:
    """Peak memory (MB, VmHWM) of a new process that calls `module`'s `main(*arguments)`."""
    code = (
        f"import sys\nfrom {module} import main\nmain(*sys.argv[1:])\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return int(done.stdout.split()[-1]) * 1024 / 1e6
