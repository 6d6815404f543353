"""How fast a model answers on this machine, for each interpreter and number of threads.

Every combination runs in a process of its own, so that its first call is a first call, and its peak memory its own.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .classifier import Classifier
from .errors import PocketlensError
from .external.adopt import adopting
from .images import load_pixels
from .interpreter import LIBRARIES, installed
from .model_file import read_model
from .native_output import held_stderr

_PACKAGE_ROOT = Path(__file__).resolve().parents[1]
_WARM_UP = 5
_TIMEOUT_S = 600
#: A second thread must save this share of the time to be worth the trouble it makes under load.
_WORTHWHILE = 0.15


def combinations(max_threads: int) -> Iterator[tuple[str, int]]:
    """(library, threads) of everything to measure: each library installed, 1, 2, 4... threads."""
    for library in installed():
        threads = 1
        while threads <= max_threads:
            yield library, threads
            threads *= 2


def measure(
    model: Path, sample: bytes, library: str, threads: int, rounds: int, known: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One combination, measured in a process of its own.

    Args:
        sample: what to classify: an encoded picture, such as `example_picture()`; or a vector as a list in JSON.
        known: what is known of a model of someone else's, as for `Classifier`.

    Returns:
        interpreter, threads, load_ms, first_call_ms; preprocessing_ms, invoke_ms and call_ms, each with median,
        p95 and p99; images_per_second; peak_memory_mb. Or interpreter, threads and error.
    """
    known = dict(known or {})
    if isinstance(known.get("labels"), str):  # the child works in another folder
        known["labels"] = str(Path(known["labels"]).resolve())
    arguments = [str(model.resolve()), library, str(threads), str(rounds), json.dumps(known)]
    command = [sys.executable, "-c", "from runtime.benchmark import _child; _child()", *arguments]
    try:
        done = subprocess.run(
            command, cwd=_PACKAGE_ROOT, input=sample, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"interpreter": library, "threads": threads, "error": f"no answer in {_TIMEOUT_S} s"}
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        text = reason[-1] if reason else f"its process ended with status {done.returncode}"
        return {"interpreter": library, "threads": threads, "error": text}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def example_picture() -> bytes:
    """A JPEG as a camera gives it: 640x480, smooth with some grain."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = rng.integers(-8, 9, smooth.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def recommend(rows: Sequence[dict[str, Any]]) -> str:
    """One line that says what to choose; more threads only where they save 15 % or more."""
    good = [row for row in rows if "error" not in row]
    if not good:
        return "no interpreter runs this model here; see `pocketlens doctor`"
    best = min(good, key=lambda row: row["call_ms"]["median"])
    for row in sorted(good, key=lambda row: row["threads"]):
        if row["interpreter"] == best["interpreter"] and (
            best["call_ms"]["median"] > (1 - _WORTHWHILE) * row["call_ms"]["median"]
        ):
            best = row
            break
    name, threads = best["interpreter"], best["threads"]
    return f"choose --interpreter {name} --threads {threads}: {best['call_ms']['median']:.3f} ms a call on this machine"


def _child() -> None:
    """Measure one combination and print it as JSON; the sample comes on standard input."""
    path, library, threads, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    known = json.loads(sys.argv[5])
    sample: Any = sys.stdin.buffer.read()
    try:
        read_model(path, adopting(known, library=library))  # a trial of the model is no part of its load
        with held_stderr():
            started = time.perf_counter()
            classifier = Classifier(path, num_threads=threads, interpreter=library, **known)
            load = time.perf_counter() - started
    except PocketlensError as error:
        sys.exit(str(error))
    spec = classifier.contract.input
    if spec.kind == "features":
        sample = json.loads(sample)
    started = time.perf_counter()
    classifier.classify(sample)
    first = time.perf_counter() - started
    prepare = classifier.preprocessor
    ready = np.array(sample) if spec.kind == "features" else load_pixels(sample, spec)
    calls = _times(lambda: classifier.classify(sample), rounds)
    found = {
        "interpreter": library,
        "distribution": LIBRARIES[library],
        "threads": threads,
        "load_ms": round(load * 1000, 3),
        "first_call_ms": round(first * 1000, 3),
        "preprocessing_ms": _quantiles(_times(lambda: prepare(sample), rounds)),
        # An array of the right shape needs no decoding: what is left is the invocation.
        "invoke_ms": _quantiles(_times(lambda: classifier.scores(ready), rounds)),
        "call_ms": _quantiles(calls),
        "images_per_second": round(len(calls) / sum(calls), 1),
        "peak_memory_mb": _peak_memory_mb(),
    }
    print(json.dumps(found))


def _times(call: Callable[[], object], rounds: int) -> list[float]:
    for _ in range(_WARM_UP):
        call()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def _quantiles(seconds: list[float]) -> dict[str, float]:
    values = np.percentile(np.array(seconds) * 1000, [50, 95, 99])
    return {name: round(float(value), 4) for name, value in zip(("median", "p95", "p99"), values, strict=True)}


def _peak_memory_mb() -> float | None:
    """The most memory this process had; None where the system does not tell.

    getrusage would not do: on Linux its figure survives exec, and is then the parent's.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return round(int(found[1]) / 1024, 1) if found else None
