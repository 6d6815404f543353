"""What a service finds about the models of a slot: answers, "unknown", errors, and whether it died of one.

Each service has a file of its own in `health/`. An account that owns nothing can write there and nowhere else in the
slot. A marker stands in the file while a model loads, and while it runs: a service that finds its own marker at its
start has died. During a probation the file is written once in 10 seconds at most, otherwise once an hour, so that a
memory card does not wear out. Nothing waits for the disk: the kernel keeps what a process has written before it died.

The counts forget: beyond 2,000 answers both numbers are halved, so that they describe the last hours.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DeploymentError
from ..files import open_regular_file, shown, write_whole
from .slot import HEALTH_NAME, MODEL_NAME, PREVIOUS_NAME, is_slot, read_state
from .state import boot_id

_log = logging.getLogger(__name__)

_FORMAT, _VERSION = "pocketlens-health", 1
_MAX_BYTES = 2**16
#: Services whose files are read; strangers may write there.
_MOST_SERVICES = 200
_PROBATION_PERIOD_S, _PERIOD_S = 10.0, 3600.0
_REMEMBERED_ANSWERS = 2000
#: A service that has died so often with a model on probation loads the model before it.
MOST_DEATHS = 3
#: Errors of a model on probation that are written at once.
_ERRORS_AT_ONCE = 5
LOADING, ANSWERING, ENDED = "loading", "answering", "ended"


class ModelHealth(NamedTuple):
    """What was found about one model.

    Attributes:
        answers: how many answers it has given.
        unknown: how many of them were "unknown".
        errors: how often it failed to answer.
        load_failures: how often it could not be loaded.
        deaths: how often the service died while it loaded or ran it; this, errors and failures to load are counted
            during its probation alone.
        deaths_loading: how many of them before its first answer, and not because the machine went off.
        reason: the last trouble, in one line.
    """

    answers: int = 0
    unknown: int = 0
    errors: int = 0
    load_failures: int = 0
    deaths: int = 0
    deaths_loading: int = 0
    reason: str = ""

    def plus(self, other: ModelHealth) -> ModelHealth:
        """Both together."""
        sums = (mine + others for mine, others in zip(self[:-1], other[:-1], strict=True))
        return ModelHealth._make((*sums, self.reason or other.reason))


_COUNTS = ModelHealth._fields[:-1]


class ServiceHealth(NamedTuple):
    """What one service has found.

    Attributes:
        service: its name.
        model: the SHA-256 of the model that it loads or runs.
        phase: `LOADING`, `ANSWERING` or `ENDED`.
        pid: its process.
        boot: the machine's start in which that process was started.
        models: what was found about each model, by SHA-256.
    """

    service: str
    model: str = ""
    phase: str = ENDED
    pid: int = 0
    boot: str = ""
    models: dict[str, ModelHealth] = {}  # noqa: RUF012 - no instance changes it

    def to_json(self) -> bytes:
        """The file's content."""
        models = {sha256: found._asdict() for sha256, found in self.models.items()}
        return json.dumps({"format": _FORMAT, "version": _VERSION, **self._asdict(), "models": models}).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> ServiceHealth:
        """Read back what `to_json` gave.

        Raises:
            ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError: it is something else.
        """
        document = json.loads(content)
        if (document.pop("format"), document.pop("version")) != (_FORMAT, _VERSION):
            raise ValueError("another format")
        models = {
            str(sha256): ModelHealth._make((*(_count(found[name]) for name in _COUNTS), str(found["reason"])))
            for sha256, found in document["models"].items()
        }
        texts = {name: str(document[name]) for name in ("service", "model", "phase", "boot")}
        return cls(**texts, pid=_count(document["pid"]), models=models)


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"{value!r} is no count")
    return value


def read_health(folder: Path) -> Iterator[ServiceHealth]:
    """What each service of a slot has found; files that cannot be read are passed over, as anybody may write there.

    Args:
        folder: the slot's folder for it, `slot.health`.
    """
    try:
        paths = sorted(folder.glob("*.json"))[:_MOST_SERVICES]
    except OSError:
        return
    for path in paths:
        found = _read(path)
        if found is not None:
            yield found


def _read(path: Path) -> ServiceHealth | None:
    try:
        with open_regular_file(path, DeploymentError) as file:
            return ServiceHealth.from_json(file.read(_MAX_BYTES))
    except (OSError, DeploymentError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def slot_of(model: str | os.PathLike[str]) -> Path | None:
    """The slot whose model a path names; None if it names another file."""
    path = Path(os.path.realpath(model))
    return path.parent if path.name == MODEL_NAME and is_slot(path.parent) else None


def service_name(kind: str) -> str:
    """A name that a service has again after it was started again: its kind, and what tells its command from others."""
    words = "\0".join((*sys.argv[1:], os.environ.get("STATE_DIRECTORY", "")))
    return f"{kind}-{zlib.crc32(os.fsencode(words)):08x}-{os.getuid()}"


class HealthRecorder:
    """Counts what a service finds about the models of a slot; any thread may call.

    Args:
        slot: the slot's folder.
        service: the service's name, which it has again after a restart.
        clock: gives seconds.
    """

    def __init__(self, slot: Path, service: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._slot = slot
        self._path = slot / HEALTH_NAME / f"{service}.json"
        self._clock = clock
        self._lock = threading.Lock()
        self._written_at = float("-inf")
        self._says_trouble = True
        self._on_probation = self._look_for_probation()
        for partial in self._path.parent.glob(f".{self._path.name}.partial-*"):  # of a process that was killed
            with suppress(OSError):
                partial.unlink()
        before = _read(self._path) or ServiceHealth(service)
        self._models = dict(before.models)
        if before.phase != ENDED and before.model == self._on_probation and not _is_alive(before):
            self._note_death(before)
        self._health = ServiceHealth(service, before.model, pid=os.getpid(), boot=boot_id())

    def _note_death(self, before: ServiceHealth) -> None:
        loading = before.phase == LOADING and before.boot == boot_id()
        reason = f"{before.service} died while it {'loaded' if before.phase == LOADING else 'ran'} it"
        self._add(before.model, ModelHealth(deaths=1, deaths_loading=int(loading)), reason)

    def model_to_load(self, model: str | os.PathLike[str]) -> str | os.PathLike[str]:
        """The model that the service begins with: the one before, where `model` on probation has killed it often."""
        found = self._models.get(self._on_probation)
        previous = self._slot / PREVIOUS_NAME
        if found is not None and found.deaths >= MOST_DEATHS and previous.is_file():
            _log.warning(
                "warning: %s: the service died %d times with this model on probation; it runs %s until the next update",
                shown(self._slot / MODEL_NAME),
                found.deaths,
                PREVIOUS_NAME,
            )
            return previous
        return model

    def loading(self, sha256: str) -> None:
        """A model is about to be loaded."""
        with self._lock:
            self._on_probation = self._look_for_probation()
            found = self._models.pop(sha256, ModelHealth())
            if self._health.model != sha256:  # its probation may be its second one
                found = ModelHealth(found.answers, found.unknown)
            self._models[sha256] = found
            self._health = self._health._replace(model=sha256, phase=LOADING)
            self._write()

    def load_failed(self, sha256: str, running: str, reason: str) -> None:
        """A model could not be loaded; another one runs on, or "" for none."""
        with self._lock:
            self._add(sha256, ModelHealth(load_failures=int(sha256 == self._on_probation)), reason)
            self._keep(running)

    def not_taken(self, running: str) -> None:
        """A model was loaded, and does not take over; another one runs on."""
        with self._lock:
            self._keep(running)

    def _keep(self, running: str) -> None:
        self._health = self._health._replace(model=running, phase=ANSWERING if running else ENDED)
        self._write()

    def answered(self, sha256: str, unknown: bool) -> None:
        """A model has answered."""
        with self._lock:
            self._add(sha256, ModelHealth(1, int(unknown)))
            if self._health.phase == LOADING and self._health.model == sha256:
                self._health = self._health._replace(phase=ANSWERING)
                self._write()
            elif self._clock() - self._written_at >= (_PROBATION_PERIOD_S if self._on_probation else _PERIOD_S):
                self._on_probation = self._look_for_probation()
                self._write()

    def failed(self, sha256: str, reason: str) -> None:
        """A model could not answer."""
        with self._lock:
            if sha256 == self._on_probation:
                self._add(sha256, ModelHealth(errors=1), reason)
                if self._models[sha256].errors <= _ERRORS_AT_ONCE:
                    self._write()

    def close(self) -> None:
        """The service ends on purpose."""
        with self._lock:
            if self._health.phase != ENDED:
                self._health = self._health._replace(phase=ENDED)
                self._write()

    def _add(self, sha256: str, found: ModelHealth, reason: str = "") -> None:
        total = self._models.get(sha256, ModelHealth()).plus(found)
        if total.answers > _REMEMBERED_ANSWERS:
            total = total._replace(answers=total.answers // 2, unknown=total.unknown // 2)
        self._models[sha256] = total._replace(reason=" ".join(reason.split())[:300] or total.reason)

    def _look_for_probation(self) -> str:
        """The SHA-256 of the model on probation; "" for none."""
        try:
            state = read_state(self._slot)
        except DeploymentError:
            return ""
        if state.current is None or state.probation is None or state.probation.left == 0:
            return ""
        return state.current.sha256

    def _write(self) -> None:
        kept = [*self._models][-3:]  # the model, the one before, and one that was rolled back
        self._models = {sha256: self._models[sha256] for sha256 in kept}
        self._written_at = self._clock()
        try:
            write_whole(self._path, self._health._replace(models=self._models).to_json())
        except OSError as error:
            if self._says_trouble:  # answers matter more; once is enough
                self._says_trouble = False
                where = shown(self._path.parent)
                _log.warning("warning: %s: %s; updates learn nothing of this service", where, error.strerror or error)


def _is_alive(health: ServiceHealth) -> bool:
    """Whether the process that has written a file still runs; another one has its number after the next start."""
    if health.boot != boot_id() or not health.pid or health.pid == os.getpid():
        return False
    try:
        os.kill(health.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
