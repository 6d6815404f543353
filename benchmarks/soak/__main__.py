"""`python -m benchmarks.soak`: four threads on one Classifier, and the growth of memory over many calls and many loads.

Each installed interpreter runs in a process of its own. The exit status is 0 if every bound is kept, else 1.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from fuzz.build_models import make_models
from fuzz.corpus import encoded, scene
from runtime import Classifier
from runtime.interpreter import LIBRARIES, installed
from runtime.memory import resident_memory_mb
from runtime.progress import progress

MODEL = "digits-int8"
CLASSIFICATIONS_MB = 2.0
LOADS_MB = 10.0
_THREADS = 4
_WARM_UP = 0.05


def _sources() -> list[Any]:
    """The inputs that users give: encoded pictures and arrays."""
    rng = np.random.default_rng(0)
    arrays = list(rng.integers(0, 256, (8, 8, 8), dtype=np.uint8))
    return [*arrays, *(encoded(scene("RGB", (64, 48)), kind) for kind in ("JPEG", "PNG", "BMP", "GIF"))]


def threads(model: str, library: str, calls: int) -> dict[str, Any]:
    """Wrong scores of four threads that call at once; each goes through all sources from a different start."""
    sources = _sources()
    with Classifier(model, interpreter=library) as classifier:
        expected = [classifier.scores(source) for source in sources]

        def work(first: int) -> int:
            places = ((first + n) % len(sources) for n in range(calls))
            return sum(not np.array_equal(classifier.scores(sources[i]), expected[i]) for i in places)

        with ThreadPoolExecutor(_THREADS) as pool:
            wrong = sum(pool.map(work, range(_THREADS)))
    return {"what": f"{_THREADS} threads x {calls:,} calls", "found": wrong, "bound": 0, "unit": "wrong answers"}


def classifications(model: str, library: str, calls: int) -> dict[str, Any]:
    """Growth of memory over `calls` classifications, after a warm-up of a twentieth of them."""
    sources = _sources()
    with Classifier(model, interpreter=library) as classifier:

        def call(number: int) -> object:
            # An encoded picture in ten calls: decoding takes ten times as long as the rest.
            return classifier.classify(sources[8 + number // 10 % 4] if number % 10 == 0 else sources[number % 8])

        growth = _growth(call, calls)
    return {"what": f"{calls:,} classifications", "found": growth, "bound": CLASSIFICATIONS_MB, "unit": "MB more"}


def loads(model: str, library: str, calls: int) -> dict[str, Any]:
    """Growth of memory over `calls` classifiers that are built, used once and closed."""
    pixels = _sources()[0]

    def call(_number: int) -> object:
        with Classifier(model, interpreter=library) as classifier:
            return classifier.classify(pixels)

    return {"what": f"{calls:,} loads", "found": _growth(call, calls), "bound": LOADS_MB, "unit": "MB more"}


def _growth(call: Any, calls: int) -> float:
    """MB by which resident memory is larger at the end than after the warm-up."""
    for number in range(max(100, int(calls * _WARM_UP))):
        call(number)
    before = settled_mb()
    with progress(calls, f"{calls:,} calls") as bar:
        for number in range(calls):
            call(number)
            if number % 1000 == 999:
                bar.update(1000)
    return round(settled_mb() - before, 2)


def settled_mb() -> float:
    """Resident memory, after free memory was given back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)
    return resident_memory_mb() or 0.0


@click.command(help=__doc__)
@click.option("--calls", type=click.IntRange(1), default=200_000, show_default=True, help="Classifications for memory.")
@click.option("--thread-calls", type=click.IntRange(1), default=5_000, show_default=True, help="Calls of each thread.")
@click.option(
    "--loads", "load_count", type=click.IntRange(1), default=2_000, show_default=True, help="Classifiers built."
)
@click.option("--interpreter", type=click.Choice(list(LIBRARIES)), help="Test only this interpreter, in this process.")
def main(calls: int, thread_calls: int, load_count: int, interpreter: str | None) -> None:
    model = str(make_models(Path("build/fuzz/models"))[MODEL])
    if interpreter is not None:
        for row in (
            threads(model, interpreter, thread_calls),
            classifications(model, interpreter, calls),
            loads(model, interpreter, load_count),
        ):
            print(json.dumps(row), flush=True)
        return
    sizes = ["--calls", str(calls), "--thread-calls", str(thread_calls), "--loads", str(load_count)]
    good = True
    for library in installed():
        started = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.soak", *sizes, "--interpreter", library]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        print(f"\n{LIBRARIES[library]}, {time.monotonic() - started:.0f} s")
        for row in rows:
            kept = row["found"] <= row["bound"]
            good = good and kept
            print(
                f"  {row['what']:28}{row['found']:>8} {row['unit']}, bound {row['bound']:<6}{'' if kept else 'FAILED'}"
            )
        if done.returncode != 0 or len(rows) != 3:
            good = False
            print(f"  FAILED: exit status {done.returncode}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
