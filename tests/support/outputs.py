"""Events for the tests of outputs, and waiting for threads."""

from __future__ import annotations

import time
from collections.abc import Callable

from runtime.outputs.event import Event


def event_of(label: str, *, at: float = 1764172800.25, picture: bytes | None = None, score: float = 0.75) -> Event:
    """An event with this label."""
    return Event(at, "door", label, score, at - 1.0, 3, "closed", {label: score, "other": 1 - score}, picture, 12.5)


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that another thread or process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
