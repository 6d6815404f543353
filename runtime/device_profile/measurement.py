"""Measures the probes on this machine, for each interpreter and number of threads, in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from .. import interpreter
from .._version import __version__
from ..benchmark import combinations
from ..child_process import ChildError, call_in_child
from ..errors import InterpreterError
from ..hardware import board_model, processor_model
from ..native_output import held_stderr
from ..progress import progress
from .format import DeviceProfile, Setting
from .probe_network import PROBE_TYPES, ProbeNetwork
from .probes import all_probes, count_probes

#: Calls are timed in batches, and the fastest batch counts: other work on the machine only ever adds time. All probes
#: have their turn several times, since other work may last longer than the batches of one.
_PASSES, _BATCHES, _BATCH_S, _MAX_CALLS = 2, 3, 0.004, 500
_TIMEOUT_S = 1800
#: What glibc counts of its memory: in use are the bytes in its heaps and those that it mapped for large blocks.
_COUNTS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


def measure_device(max_threads: int, device: str = "") -> DeviceProfile:
    """The profile of this machine: every probe with each installed interpreter and 1, 2, 4... threads.

    It takes about 10 s a combination on a workstation, and a minute on a small board.

    Args:
        max_threads: the largest number of threads.
        device: the device's name; by default the model of this board or processor.

    Raises:
        InterpreterError: no interpreter is installed, or none of them measured anything.
    """
    probes = tuple(probe._replace(content=b"") for probe in all_probes())
    settings, problems = [], []
    for library, threads in combinations(max_threads):
        try:
            measured = call_in_child(
                f"{__name__}:measure_probes_here", library, threads, shows_progress=True, timeout=_TIMEOUT_S
            )
            times, grown = zip(*measured, strict=True)
            settings.append(Setting(library, interpreter.version_of(library), threads, times, grown))
        except ChildError as error:
            problems.append(f"{interpreter.LIBRARIES[library]}: {error}")
    if not any(time is not None for setting in settings for time in setting.times_ms):
        interpreter.choose()  # says what to install
        raise InterpreterError(f"no probe could be measured: {'; '.join(problems) or 'every interpreter refuses them'}")
    return DeviceProfile(
        device=device or board_model() or processor_model() or platform.processor() or platform.machine(),
        machine=platform.machine(),
        processors=os.cpu_count() or 1,
        pocketlens=__version__,
        probes=probes,
        settings=tuple(settings),
    )


def measure_probes_here(library: str, threads: int) -> list[tuple[float | None, int | None]]:
    """The ms of a call of each probe in this process, and the bytes that it made the process allocate.

    Both are None for a probe that the interpreter refuses, and the bytes where the C library does not count them.
    """
    for kind in PROBE_TYPES:  # what a library allocates for its first model is none of the probes'
        network = ProbeNetwork(kind)
        with suppress(InterpreterError):
            ready_call(network.content([network.dense(network.given((1, 8)), 8)]), library, threads)()
    gc.collect()
    gc.freeze()  # what is there now stays, and need not be looked at before each probe
    passes: list[list[tuple[float | None, int | None]]] = []
    with progress(_PASSES * count_probes(), f"{interpreter.LIBRARIES[library]}, threads: {threads}") as bar:
        for _ in range(_PASSES):
            passes.append([])
            for probe in all_probes():
                passes[-1].append(measure_call(probe.content, library, threads))
                bar.update(1)
    return [_least(results) for results in zip(*passes, strict=True)]


def _least(results: Sequence[tuple[float | None, int | None]]) -> tuple[float | None, int | None]:
    """The shortest time and the least memory of several measurements of a probe."""
    times, sizes = zip(*results, strict=True)
    return (
        min((time for time in times if time is not None), default=None),
        min((size for size in sizes if size is not None), default=None),
    )


def measure_call(content: bytes, library: str, threads: int) -> tuple[float | None, int | None]:
    """The ms of a call of a model, and the bytes that it made this process allocate; see `measure_probes_here`."""
    try:
        call, grown = grown_call(content, library, threads)
    except InterpreterError:
        return None, None
    return round(1000 * seconds_a_call(call), 6), grown


def grown_call(content: bytes, library: str, threads: int) -> tuple[Callable[[], object], int | None]:
    """One invocation of a model, as `ready_call` gives it, and the bytes that it made this process allocate.

    Raises:
        InterpreterError: the interpreter refuses the model.
    """
    gc.collect()  # else it may free what earlier models took, while this one is counted
    before = allocated_bytes()
    call = ready_call(content, library, threads)
    call()
    grown = None if before is None else (allocated_bytes() or 0) - before
    return call, grown if grown and grown > 0 else None


def ready_call(content: bytes, library: str, threads: int = 1) -> Callable[[], object]:
    """One invocation of a model, with inputs of ordinary values.

    Args:
        content: the model file, which must be trusted.
        library, threads: the interpreter library, and the threads of one invocation.

    Raises:
        InterpreterError: the interpreter refuses the model.
    """
    with held_stderr():  # XNNPACK says that it is there
        built = interpreter.build(content, threads, library)
    generator = np.random.default_rng(0)
    for detail in built.get_input_details():
        values = generator.uniform(0, 100, detail["shape"])
        built.set_tensor(detail["index"], values.astype(detail["dtype"]))
    return built.invoke


def seconds_a_call(call: Callable[[], Any]) -> float:
    """The seconds that a call takes, in the fastest of several batches."""
    call()
    started = time.perf_counter()
    call()
    count = max(1, min(_MAX_CALLS, int(_BATCH_S / max(time.perf_counter() - started, 1e-7))))
    batches = []
    for _ in range(_BATCHES):
        started = time.perf_counter()
        for _ in range(count):
            call()
        batches.append((time.perf_counter() - started) / count)
    return min(batches)


def allocated_bytes() -> int | None:
    """The bytes that this process has allocated and not freed; None without glibc's `mallinfo2`."""
    count = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if count is None:
        return None
    count.restype = _Mallinfo
    counts = count()
    return int(counts.uordblks + counts.hblkhd)


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _COUNTS)
