"""Tries a model in a child process before this one trusts it, and remembers the verdict.

A bad file can make an interpreter end its process, or never answer. The child builds the interpreter, runs it on what
the contract's preprocessing makes of random pixels, and checks that its outputs are numbers. Memory and time of the
child are limited. The verdict holds for one file, contract and interpreter, so it is kept under the file's SHA-256,
the library, its version, the delegate and the contract.

A child process with limits of the standard library, and no sandbox library: those need privileges or packages that a
device lacks, and the aim is that a bad file kills nothing else, not to hold an attacker.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .. import interpreter
from ..cache import TRIALS, cache_folder
from ..child_limits import ChildLimits
from ..child_process import ChildError, call_in_child, signal_name
from ..contract import Contract
from ..errors import InterpreterError, ModelFileError, PocketlensError

VERDICT_FORMAT = 2
#: Wall time, long enough for a machine under load; a hang ends earlier, by the limit on processor time.
TIMEOUT_S = 120
LIMITS = ChildLimits(cpu_seconds=30, memory_bytes=4 * 2**30, network=False)

_TRIAL = f"{__name__}:run_trial"
_NOT_TRIED = "the model could not be tried in a process of its own"


class Verdict(NamedTuple):
    """The outcome of a trial.

    Attributes:
        good: whether the model ran and its outputs were numbers.
        reason: why the model is not good; "" for a good one.
        cached_at: the file that the verdict was read from; None for a fresh one.
    """

    good: bool
    reason: str = ""
    cached_at: Path | None = None


#: The verdicts of this process: even where the cache cannot be written, a process tries a model only once.
_known: dict[str, Verdict] = {}


def trust(
    content: bytes,
    name: str,
    library: str = interpreter.AUTO,
    delegate: str | None = None,
    contract: Contract | None = None,
) -> None:
    """Return if the model runs, trying it where there is no verdict on it yet.

    Args:
        content: the model file.
        name: the file's name, for messages.
        library, delegate: as for `interpreter.build`.
        contract: its preprocessing makes the inputs of the trial; without it they are zeros and noise.

    Raises:
        ModelFileError: it does not run; the message says how to have it tried again.
        InterpreterError: no interpreter is installed, or the trial could not be made.
    """
    verdict = try_model(content, library, delegate, contract)
    if not verdict.good:
        again = f"; to have it tried again, remove {verdict.cached_at}" if verdict.cached_at else ""
        # The structure was checked before, so that nothing shows damage: the file need not be copied again.
        cure = "export it again, or try another `interpreter`"
        raise ModelFileError(f"{name}: tried in a process of its own, and {verdict.reason}; {cure}{again}")


def try_model(
    content: bytes, library: str = interpreter.AUTO, delegate: str | None = None, contract: Contract | None = None
) -> Verdict:
    """The verdict on a model, from the cache if it is there; arguments and errors as for `trust`."""
    library = interpreter.choose(library)
    text = contract.to_json() if contract else ""
    key = _key(content, library, delegate, text)
    if key in _known:
        return _known[key]
    folder = cache_folder()
    place = folder / TRIALS / f"{key}.json" if folder else None
    verdict = _read(place) if place else None
    if verdict is None:
        verdict = _try(content, library, delegate, text)
        if place:
            _write(place, verdict)
    _known[key] = verdict
    return verdict


def _key(content: bytes, library: str, delegate: str | None, contract: str = "") -> str:
    parts = [hashlib.sha256(content).hexdigest(), library, interpreter.version_of(library), f"v{VERDICT_FORMAT}"]
    parts += [hashlib.sha256(os.fsencode(text)).hexdigest()[:16] for text in (delegate, contract) if text]
    return "-".join(parts)


def _read(place: Path) -> Verdict | None:
    """The verdict that a file holds; None where there is none that can be read."""
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
    """Keep a verdict: written beside its place, then renamed. An error is ignored: the cache only saves time."""
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


def _try(content: bytes, library: str, delegate: str | None, contract: str) -> Verdict:
    """Try a model in a child process; raises InterpreterError where the outcome says nothing about the model."""
    try:
        found = call_in_child(
            _TRIAL,
            library,
            delegate,
            contract,
            content=content,
            timeout=TIMEOUT_S,
            limits=LIMITS._replace(network=delegate is not None),  # a delegate may look for its device by a socket
            # numpy's algebra starts a thread for each processor, which would take the memory meant for the model.
            variables={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
    except ChildError as error:
        if error.status is not None and error.status < 0:
            return _died(-error.status)
        raise InterpreterError(f"{_NOT_TRIED}: {error}") from error
    if found["reason"] and not found["models_fault"]:
        raise InterpreterError(f"{_NOT_TRIED}: {found['reason']}")
    return Verdict(not found["reason"], found["reason"])


def _died(number: int) -> Verdict:
    name = signal_name(number)
    if name == "SIGXCPU":
        return Verdict(False, f"it gave no answer within {LIMITS.cpu_seconds} s of processor time")
    if name in ("SIGTERM", "SIGINT", "SIGKILL"):  # sent by others; the model may be innocent
        raise InterpreterError(f"{_NOT_TRIED}: its process was ended from outside by {name}; is memory short?")
    return Verdict(False, f"it ended that process with {name}")


def _line(text: str) -> str:
    """One printable line, of a length that can be shown."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:300]


def run_trial(library: str, delegate: str | None, contract: str, content: bytes) -> dict[str, object]:
    """Run a model and return the verdict on it; for a child process with limits.

    Returns:
        `reason`, why the model is bad, or ""; and `models_fault`, False where the installation or the delegate failed.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # a bad model may make native code print without end
    os.dup2(nowhere, 2)
    models_fault = True
    try:
        reason = _run(content, library, delegate, contract)
    except PocketlensError as error:
        reason = str(error)
        models_fault = "refuses the model" in reason  # else the installation's, or the delegate's
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        reason = f"it failed to run: {error or type(error).__name__}"
    return {"reason": _line(reason), "models_fault": models_fault}


def _run(content: bytes, library: str, delegate: str | None, contract: str) -> str:
    """The reason why the model is bad; "" for a good one."""
    import numpy as np

    engine = interpreter.build(content, library=library, delegate=delegate)
    given = engine.get_input_details()
    for tensors in _contract_inputs(contract, given) if contract else _plain_inputs(given):
        for details, tensor in zip(given, tensors, strict=True):
            engine.set_tensor(details["index"], tensor)
        engine.invoke()
        for answer in engine.get_output_details():
            values = np.asarray(engine.get_tensor(answer["index"]))
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                return "its answer is not a number"
    return ""


def _contract_inputs(text: str, given: list[dict[str, Any]]) -> Iterator[list[Any]]:
    """What the contract's preprocessing makes of black, white and random pixels, or of random readings.

    A model may rely on its preprocessing: the root of a pixel is a number, that of a negative number is none. The
    pixels differ from trial to trial, so that no model knows them.
    """
    import numpy as np

    from ..preprocessing import TensorSpec, make_preprocessor

    spec = Contract.from_json(text).input
    if len(given) != 1 or math.prod(given[0]["shape"]) != math.prod(spec.shape):
        yield from _plain_inputs(given)  # the contract does not fit: `Classifier` says so
        return
    preprocessor = make_preprocessor(spec, TensorSpec.from_details(given[0]))
    rng = np.random.default_rng()
    for level in (0, 255, None):
        if spec.kind == "features":
            samples = spec.mean + np.array(spec.std) * rng.standard_normal((1, *spec.shape))
        elif level is None:
            samples = rng.integers(0, 256, (1, *spec.shape), np.uint8)
        else:
            samples = np.full((1, *spec.shape), level, np.uint8)
        yield [preprocessor.scale(samples).reshape(given[0]["shape"])]


def _plain_inputs(given: list[dict[str, Any]]) -> Iterator[list[Any]]:
    """Zeros, then noise."""
    import numpy as np

    yield [np.zeros(tuple(details["shape"]), details["dtype"]) for details in given]
    rng = np.random.default_rng()
    noise = []
    for details in given:
        shape, dtype = tuple(details["shape"]), np.dtype(details["dtype"])
        tensor: Any = np.zeros(shape, dtype)
        if dtype.kind == "f":
            tensor = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind in "iu":
            limits = np.iinfo(dtype)
            tensor = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        noise.append(tensor)
    yield noise
