"""Measures how fast a model answers on this machine, for each interpreter and number of threads.

Each combination runs in a process of its own: its first call is then really the first, and its peak memory its own.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .child_process import ChildError, call_in_child
from .classifier import Classifier
from .external.adopt import ExternalOptions, adopting
from .external.sandbox import LIMITS
from .images import load_pixels
from .interpreter import LIBRARIES, installed
from .memory import peak_memory_mb
from .model_file import is_sealed, read_model
from .sealed_models import check_sealed

_WARM_UP = 5
_TIMEOUT_S = 600
#: More threads must save this share of the time: they cost more under load.
_MIN_SAVING = 0.15


def combinations(max_threads: int) -> Iterator[tuple[str, int]]:
    """The combinations to measure as (library, threads): each installed library with 1, 2, 4... threads."""
    for library in installed():
        threads = 1
        while threads <= max_threads:
            yield library, threads
            threads *= 2


def measure(
    model: Path,
    sample: bytes,
    library: str,
    threads: int,
    rounds: int,
    known: dict[str, Any] | None = None,
    *,
    trusted: bool = False,
) -> dict[str, Any]:
    """Measure one combination in a process of its own.

    Args:
        model: the model file.
        sample: the input to classify: an encoded image, such as `example_picture()`; or a vector as a list in JSON.
        library, threads: the interpreter library, and the threads of one invocation.
        rounds: how many calls of each kind are timed.
        known: what is known of a model of someone else's, by the names of `Classifier`'s parameters.
        trusted: as for `Classifier`.

    The process has the limits of a trial, but for its time.

    Returns:
        interpreter, distribution, threads, load_ms, first_call_ms; preprocessing_ms, invoke_ms and call_ms, each with
        median, p95 and p99; images_per_second; peak_memory_mb. Or interpreter, threads and error.
    """
    arguments = (str(model), library, threads, rounds, known or {}, trusted)
    limits = LIMITS._replace(cpu_seconds=_TIMEOUT_S * max(1, threads))
    try:
        figures: dict[str, Any] = call_in_child(
            f"{__name__}:measure_here", *arguments, content=sample, timeout=_TIMEOUT_S, limits=limits
        )
    except ChildError as error:
        return {"interpreter": library, "threads": threads, "error": str(error)}
    return figures


def example_picture() -> bytes:
    """A JPEG like a camera's: 640x480, smooth with some grain."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = rng.integers(-8, 9, smooth.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def best_combination(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The row of the fastest combination, with more threads only if they save 15 % or more; None if all failed."""
    good = [row for row in rows if "error" not in row]
    if not good:
        return None
    best = min(good, key=lambda row: row["call_ms"]["median"])
    for row in sorted(good, key=lambda row: row["threads"]):
        if row["interpreter"] == best["interpreter"] and (
            best["call_ms"]["median"] > (1 - _MIN_SAVING) * row["call_ms"]["median"]
        ):
            return row
    return best


def measure_here(
    model: str, library: str, threads: int, rounds: int, known: dict[str, Any], trusted: bool, sample: bytes
) -> dict[str, Any]:
    """Measure one combination in this process, which must be a fresh one; arguments and result as for `measure`."""
    # Before the clock starts: the trial of a model of someone else's is no part of its loading time.
    checked = read_model(model, adopting(ExternalOptions(**known), library, trusted=trusted))
    if is_sealed(checked.content) and not trusted:
        check_sealed(checked, library)
    started = time.perf_counter()
    classifier = Classifier(model, num_threads=threads, interpreter=library, trusted=trusted, **known)
    load = time.perf_counter() - started
    spec = classifier.contract.input
    source: Any = json.loads(sample) if spec.kind == "features" else sample
    started = time.perf_counter()
    classifier.classify(source)
    first = time.perf_counter() - started
    prepare = classifier.preprocessor
    # An array of the right shape needs no decoding, so that only the invocation remains.
    ready = np.array(source) if spec.kind == "features" else load_pixels(source, spec)
    calls = _times(lambda: classifier.classify(source), rounds)
    peak = peak_memory_mb()
    return {
        "interpreter": library,
        "distribution": LIBRARIES[library],
        "threads": threads,
        "load_ms": round(load * 1000, 3),
        "first_call_ms": round(first * 1000, 3),
        "preprocessing_ms": _quantiles(_times(lambda: prepare(source), rounds)),
        "invoke_ms": _quantiles(_times(lambda: classifier.scores(ready), rounds)),
        "call_ms": _quantiles(calls),
        "images_per_second": round(len(calls) / sum(calls), 1),
        "peak_memory_mb": None if peak is None else round(peak, 1),
    }


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
