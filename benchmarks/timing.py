"""Measures calls alternately, so that other work on the machine affects all of them equally."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def interleaved(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The median seconds of each call. The calls alternate, after further rounds (a tenth as many) as a warm-up."""
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
    """A function that runs a command and waits for its end."""

    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


def run_module(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON object that a module prints last when it runs in a new process; SystemExit if it fails.

    Args:
        module: the module's name, for `python -m`.
        arguments: its arguments.
        environment: the environment of the process; by default this process's.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {arguments[0]}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def peak_memory(module: str, *arguments: str) -> float:
    """Peak memory (MB) of a new process that calls `module`'s `main(*arguments)`."""
    code = (
        f"import sys\nfrom {module} import main\nmain(*sys.argv[1:])\n"
        "from runtime.memory import peak_memory_mb\nprint(peak_memory_mb())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return float(done.stdout.split()[-1])
