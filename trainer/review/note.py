"""What is known of a picture that a device kept: read from the file beside it, of which nothing is trusted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from runtime.contract import MAX_LABELS
from runtime.input_spec import is_printable
from runtime.outputs.uncertain import RANDOM, UNCERTAIN
from runtime.watch.sorter import plain_name

#: The ending of the file beside a picture.
NOTE_SUFFIX = ".json"
#: The largest such file.
MAX_NOTE_BYTES = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Seconds since 1970 of a time that a device can mean: until the year 2242.
_LATEST = 2.0**33
_MAX_DEVICE_LENGTH = 60


class Note(NamedTuple):
    """What is known of a picture.

    Attributes:
        device: the name of the device; "" if it is not known.
        time: when the picture was taken, in seconds since 1970; None if it is not known.
        reason: why it was kept, `"uncertain"` or `"random"`; "" if it is not known.
        model: the SHA-256 of the model that answered; "" if it is not known.
        scores: the model's score of each label; empty if they are not known.
        origin: where it was collected, and its name there; "" if it was not collected.
    """

    device: str = ""
    time: float | None = None
    reason: str = ""
    model: str = ""
    scores: Mapping[str, float] = {}
    origin: str = ""

    @property
    def moment(self) -> str:
        """The time in UTC as ISO 8601 writes it, such as `2026-11-26T18:00:00Z`; "" if it is not known."""
        return "" if self.time is None else f"{datetime.fromtimestamp(self.time, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"

    @property
    def is_random(self) -> bool:
        """Whether the picture is one of the random share, which shows what the device sees."""
        return self.reason == RANDOM

    def note_values(self) -> dict[str, str]:
        """What stands in `SOURCES.csv` of it."""
        return {
            "reason": self.reason,
            "device": self.device,
            "time": self.moment,
            "model": self.model,
            "origin": self.origin,
        }

    def to_json(self) -> bytes:
        """The note as the content of a file, which `read_note` reads back."""
        values = {**self._asdict(), "kind": self.reason, "scores": dict(self.scores)}
        del values["reason"]
        return json.dumps(values).encode()


def read_note(content: bytes) -> Note:
    """The note in a file's content; a value that makes no sense counts as not known.

    Example:
        >>> read_note(b'{"kind": "random", "time": 0, "device": "../door", "scores": {"open": 2}}')
        Note(device='_door', time=0.0, reason='random', model='', scores={}, origin='')
    """
    try:
        values = json.loads(content) if len(content) <= MAX_NOTE_BYTES else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return Note()
    model, reason, time = values.get("model"), values.get("kind"), _number(values.get("time"), _LATEST)
    return Note(
        device_name(values.get("device")),
        time,
        reason if reason in (UNCERTAIN, RANDOM) else "",
        model if isinstance(model, str) and _SHA256.fullmatch(model) else "",
        _scores(values.get("scores")),
        _text(values.get("origin")),
    )


def device_name(value: Any) -> str:
    """A device's name that can be a part of a file's name; "" for none."""
    return plain_name(value[:_MAX_DEVICE_LENGTH]).lstrip("-=+@ ") if isinstance(value, str) and value.strip() else ""


def _scores(value: Any) -> Mapping[str, float]:
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        return {}
    scores = {label: _number(score, 1.0) for label, score in value.items() if is_printable(label)}
    found = {label: score for label, score in scores.items() if score is not None}
    return found if len(found) == len(value) else {}


def _number(value: Any, most: float) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= most and math.isfinite(value) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= 2048 and value.isprintable() else ""
