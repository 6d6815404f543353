"""What a slot remembers: which model is installed, which one was before, the probation, and what was refused."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_FORMAT, _VERSION = "pocketlens-slot", 1
MAX_STATE_BYTES = 2**20
#: Refused releases that are remembered; the oldest are forgotten.
_MOST_REFUSALS = 100
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DIGEST_LENGTH = 64


class Release(NamedTuple):
    """A model as its signed metadata describes it.

    Attributes:
        app: what the model is for, such as "door".
        version: the number of the release, 0 for a model that was put there by hand.
        name: the file's name in the repository.
        sha256: of the file, in lower-case hexadecimal digits.
        notes: further values of the metadata.
    """

    app: str
    version: int
    name: str
    sha256: str
    notes: dict[str, Any] = {}  # noqa: RUF012 - no instance changes it

    def __str__(self) -> str:
        return f"{self.app or self.name} {self.version}" if self.version else f"{self.name} (put there by hand)"


class Probation(NamedTuple):
    """The time in which a new model may still be rolled back.

    It is counted on a clock that no network sets, and which starts anew with the machine; so does the probation.

    Attributes:
        seconds: how long it lasts.
        boot: the machine's start in which it began; "" where the system does not tell one start from another.
        began: when, by `uptime`.
    """

    seconds: float
    boot: str
    began: float

    @classmethod
    def starting(cls, seconds: float) -> Probation:
        """A probation that begins now."""
        return cls(seconds, boot_id(), uptime())

    @property
    def belongs_to_this_boot(self) -> bool:
        """Whether the machine was not started again since it began."""
        return self.boot == boot_id() and self.began <= uptime()

    @property
    def left(self) -> float:
        """Seconds until its end; all of them after the machine was started again."""
        return max(0.0, self.began + self.seconds - uptime()) if self.belongs_to_this_boot else self.seconds


class Refusal(NamedTuple):
    """A release that was rolled back.

    Attributes:
        release: the release.
        reason: why, in one line.
    """

    release: Release
    reason: str


class SlotState(NamedTuple):
    """What `state.json` in a slot holds.

    Attributes:
        current: the installed model; None before the first.
        previous: the model to which a rollback goes; None if there is none.
        probation: of the current model; None after it.
        refused: releases that were rolled back, the newest last.
    """

    current: Release | None = None
    previous: Release | None = None
    probation: Probation | None = None
    refused: tuple[Refusal, ...] = ()

    def refusing(self, release: Release, reason: str) -> SlotState:
        """The state in which a release is refused too."""
        others = tuple(each for each in self.refused if each.release.sha256 != release.sha256)
        return self._replace(refused=(*others, Refusal(release, reason))[-_MOST_REFUSALS:])

    def to_json(self) -> bytes:
        """The state as the file holds it."""
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "current": None if self.current is None else self.current._asdict(),
            "previous": None if self.previous is None else self.previous._asdict(),
            "probation": None if self.probation is None else self.probation._asdict(),
            "refused": [{"release": each.release._asdict(), "reason": each.reason} for each in self.refused],
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> SlotState:
        """Read back what `to_json` gave.

        Raises:
            ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError: it is no state, or damaged.
        """
        document = json.loads(content)
        if document["format"] != _FORMAT or document["version"] != _VERSION:
            raise ValueError(f"format {document['format']!r} {document['version']!r}, expected {_FORMAT} {_VERSION}")
        probation = document["probation"]
        return cls(
            _release(document["current"]),
            _release(document["previous"]),
            None
            if probation is None
            else Probation(float(probation["seconds"]), str(probation["boot"]), float(probation["began"])),
            tuple(
                Refusal(release, str(each["reason"]))
                for each in document["refused"]
                if (release := _release(each["release"])) is not None
            ),
        )


def _release(document: Mapping[str, Any] | None) -> Release | None:
    if document is None:
        return None
    sha256 = str(document["sha256"])
    if len(sha256) != _DIGEST_LENGTH:
        raise ValueError(f"{sha256!r} is no SHA-256")
    return Release(
        str(document["app"]), int(document["version"]), str(document["name"]), sha256, dict(document["notes"])
    )


def uptime() -> float:
    """Seconds on a clock that nobody sets, sleep included where the system counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def boot_id() -> str:
    """What tells one start of the machine from the next; "" where the system does not say it."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
