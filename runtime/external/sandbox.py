"""Tries a model in a child process before this one trusts it, and remembers the verdict.

An interpreter that is given a bad file can end its process, or never answer. The child builds it, runs it on zeros and
on noise, and looks whether the answers are numbers; its memory and time are limited. The verdict is of one file and one
interpreter, so it is kept by the file's SHA-256, the library, its version and the delegate.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from .. import interpreter
from ..errors import InterpreterError, ModelFileError, PocketlensError

CACHE_VARIABLE = "POCKETLENS_CACHE"
VERDICT_FORMAT = 1
#: Of the wall, for a machine under load; a hang is ended by the limit on processor time, whatever the load.
TIMEOUT_S = 120
_CPU_SECONDS = 30
#: Address space: what Python, numpy and an interpreter reserve, and what the model may.
_MEMORY_BYTES = 4 * 2**30
_SEED = 0

_CHILD = "import sys; sys.path[:] = {path!r}; from runtime.external.sandbox import _child; _child()"
_NOT_TRIED = "the model could not be tried in a process of its own"


class Verdict(NamedTuple):
    """What became of a trial.

    Attributes:
        good: whether the model ran and answered with numbers.
        reason: why not; "" for a good one.
        cached_at: the file that the verdict was read from; None for a fresh one.
    """

    good: bool
    reason: str = ""
    cached_at: Path | None = None


#: Verdicts of this process: where the cache cannot be written, a model is tried once a process all the same.
_known: dict[str, Verdict] = {}


def trust(content: bytes, name: str, library: str = interpreter.AUTO, delegate: str | None = None) -> None:
    """Return if the model is known to run, trying it where it is not known.

    Args:
        content: the model file.
        name: of the file, for messages.
        library, delegate: as for `interpreter.build`.

    Raises:
        ModelFileError: it does not run; the message says how to have it tried again.
        InterpreterError: no interpreter is installed, or the trial could not be held.
    """
    verdict = judge(content, library, delegate)
    if not verdict.good:
        again = f"; to have it tried again, remove {verdict.cached_at}" if verdict.cached_at else ""
        raise ModelFileError(f"{name}: tried in a process of its own, and {verdict.reason}; copy it again{again}")


def judge(content: bytes, library: str = interpreter.AUTO, delegate: str | None = None) -> Verdict:
    """The verdict on a model, from the cache where it is there; the arguments and errors are `trust`'s."""
    library = interpreter.choose(library)
    key = _key(content, library, delegate)
    if key in _known:
        return _known[key]
    folder = cache_folder()
    place = folder / "trials" / f"{key}.json" if folder else None
    verdict = _read(place) if place else None
    if verdict is None:
        verdict = _try(content, library, delegate)
        if place:
            _write(place, verdict)
    _known[key] = verdict
    return verdict


def cache_folder() -> Path | None:
    """Where verdicts are kept: $POCKETLENS_CACHE, else pocketlens/ in $XDG_CACHE_HOME or ~/.cache; None for nowhere."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117 - the specification says to ignore relative ones
        return Path(base, "pocketlens")
    try:
        return Path.home() / ".cache" / "pocketlens"
    except RuntimeError:  # no home
        return None


def _key(content: bytes, library: str, delegate: str | None) -> str:
    try:
        version = importlib.metadata.version(interpreter.LIBRARIES[library])
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    parts = [hashlib.sha256(content).hexdigest(), library, version, f"v{VERDICT_FORMAT}"]
    if delegate is not None:
        parts.append(hashlib.sha256(os.fsencode(delegate)).hexdigest()[:16])
    return "-".join(parts)


def _read(place: Path) -> Verdict | None:
    """A verdict that was kept; None where there is none, or none that can be read."""
    try:
        found = json.loads(place.read_bytes()[:4096])
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("format") != VERDICT_FORMAT:
        return None
    good, reason = found.get("good"), found.get("reason")
    if not isinstance(good, bool) or not isinstance(reason, str) or good == bool(reason):
        return None
    return Verdict(good, _line(reason), place)


def _write(place: Path, verdict: Verdict) -> None:
    """Keep a verdict, written beside its place and renamed; where that cannot be, it is not kept."""
    text = json.dumps({"format": VERDICT_FORMAT, "good": verdict.good, "reason": verdict.reason}) + "\n"
    beside = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=place.parent, prefix=".trial-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, place)  # noqa: PTH105 - mkstemp gives a string
    except OSError:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)


def _try(content: bytes, library: str, delegate: str | None) -> Verdict:
    """Hold the trial; raises InterpreterError where its end says nothing about the model."""
    # Isolated, so that no variable and no file of the working folder decides what it imports; our path is given.
    path = [str(Path(entry).resolve()) for entry in [str(Path(__file__).parents[2]), *sys.path] if entry]
    command = [sys.executable, "-I", "-c", _CHILD.format(path=path), library, delegate or ""]
    # A thread a processor, which numpy's algebra starts, takes the memory that is meant for the model.
    variables = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InterpreterError(f"{_NOT_TRIED}: no answer within {TIMEOUT_S} s; is this machine busy?") from error
    except (OSError, ValueError) as error:
        raise InterpreterError(f"{_NOT_TRIED}: {sys.executable or 'no Python'} cannot be started: {error}") from error
    if done.returncode < 0:
        return _died(-done.returncode)
    try:
        found = json.loads(done.stdout)
        reason, models_fault = _line(str(found["reason"])), bool(found["models_fault"])
    except (ValueError, TypeError, KeyError) as error:
        raise InterpreterError(f"{_NOT_TRIED}: its process ended with status {done.returncode}") from error
    if reason and not models_fault:
        raise InterpreterError(f"{_NOT_TRIED}: {reason}")
    return Verdict(not reason, reason)


def _died(number: int) -> Verdict:
    if number == getattr(signal, "SIGXCPU", None):
        return Verdict(False, f"it gave no answer within {_CPU_SECONDS} s of processor time")
    # What others do to a process; the model may be innocent.
    if number in {signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGKILL", None)}:
        raise InterpreterError(
            f"{_NOT_TRIED}: its process was ended from outside by {_signal_name(number)}; is memory short?"
        )
    return Verdict(False, f"it ended that process with {_signal_name(number)}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _line(text: str) -> str:
    """One printable line, of a length that can be shown."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:300]


def _child() -> None:
    """Try the model on standard input and print the verdict as JSON; runs in the child."""
    answer_to = os.dup(1)
    os.dup2(2, 1)  # native code may print; only the verdict may go where the parent reads
    _limit()
    library, delegate = sys.argv[1], sys.argv[2] or None
    models_fault = True
    try:
        reason = _run(sys.stdin.buffer.read(), library, delegate)
    except PocketlensError as error:
        reason = str(error)
        models_fault = "refuses the model" in reason  # else the installation's, or the delegate's
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        reason = f"it failed to run: {error or type(error).__name__}"
    verdict = {"reason": _line(reason), "models_fault": models_fault}
    os.write(answer_to, json.dumps(verdict).encode())
    os._exit(0)  # the verdict is out: what an interpreter does at its end is of no interest


def _limit() -> None:
    """No core dump, so much memory, so much processor time."""
    try:
        import resource
    except ImportError:  # not a Unix: the timeout alone must do
        return
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, min(_MEMORY_BYTES, sys.maxsize)),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(what, (allowed, hard))
        except (OSError, ValueError, OverflowError):  # a sandbox may refuse
            continue


def _run(content: bytes, library: str, delegate: str | None) -> str:
    """What is wrong with the model; "" for nothing."""
    import numpy as np

    engine = interpreter.build(content, library=library, delegate=delegate)
    rng = np.random.default_rng(_SEED)
    for noise in (False, True):
        for given in engine.get_input_details():
            shape, dtype = tuple(given["shape"]), np.dtype(given["dtype"])
            tensor = np.zeros(shape, dtype)
            if noise and dtype.kind == "f":
                tensor = rng.standard_normal(shape).astype(dtype)
            elif noise and dtype.kind in "iu":
                limits = np.iinfo(dtype)
                tensor = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
            engine.set_tensor(given["index"], tensor)
        engine.invoke()
        for answer in engine.get_output_details():
            values = np.asarray(engine.get_tensor(answer["index"]))
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                return "its answer is not a number"
    return ""
