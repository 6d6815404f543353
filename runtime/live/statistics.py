"""What a live engine counts: frames and answers, and the age of the answers."""

from __future__ import annotations

from typing import Any, NamedTuple


class LiveStatistics(NamedTuple):
    """Counts of a span of time, or since the start.

    Attributes:
        seconds: the length of the span.
        frames: frames that the source has given.
        answered: how many of them the model has answered.
        dropped: how many were replaced by a newer one while the model was busy.
        still: how many were passed over as nothing moved.
        skipped: how many came before the next one was due.
        unreadable: how many could not be decoded, were cut, garbled or too large.
        changes: how often the state has changed.
        mean_age_ms, max_age_ms: from the capture of a frame to its answer, in milliseconds; None without an answer.
    """

    seconds: float
    frames: int = 0
    answered: int = 0
    dropped: int = 0
    still: int = 0
    skipped: int = 0
    unreadable: int = 0
    changes: int = 0
    mean_age_ms: float | None = None
    max_age_ms: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; with `frames_per_second`, `answers_per_second` and `dropped_share`."""
        seconds = max(self.seconds, 1e-9)
        return {
            **self._asdict(),
            "frames_per_second": round(self.frames / seconds, 3),
            "answers_per_second": round(self.answered / seconds, 3),
            "dropped_share": round(self.dropped / self.frames, 4) if self.frames else 0.0,
        }

    def text(self) -> str:
        """One line."""
        figures = self.as_dict()
        words = [
            f"{figures['frames_per_second']:.1f} frames/s",
            f"{figures['answers_per_second']:.1f} answered/s",
            f"{100 * figures['dropped_share']:.0f} % dropped",
        ]
        for name in ("still", "skipped", "unreadable"):
            if figures[name]:
                words.append(f"{figures[name]:,} {name}")
        if self.mean_age_ms is not None and self.max_age_ms is not None:
            words.append(f"age {self.mean_age_ms:.0f} ms, at most {self.max_age_ms:.0f}")
        return ", ".join([*words, f"{self.changes:,} change{'s' * (self.changes != 1)}"])


class Counter:
    """Counts since the start, and over spans of time; for one thread that counts and others that read."""

    def __init__(self, clock: float) -> None:
        self._started = self._span_began = clock
        self._counts = dict.fromkeys(("answered", "still", "skipped", "unreadable", "changes"), 0)
        self._at_span = (0, 0, 0, dict(self._counts))
        self._ages = _Ages()
        self._span_ages = _Ages()

    def add(self, name: str, count: int = 1) -> None:
        """Count something, by the name of an attribute of `LiveStatistics`."""
        self._counts[name] += count

    def age(self, seconds: float) -> None:
        """Count the age of an answer."""
        for ages in (self._ages, self._span_ages):
            ages.add(seconds)

    def total(self, clock: float, read: int, dropped: int, damaged: int) -> LiveStatistics:
        """The counts since the start."""
        counts = dict(self._counts)
        counts["unreadable"] += damaged
        return LiveStatistics(clock - self._started, read, dropped=dropped, **counts, **self._ages.as_dict())

    def span(self, clock: float, read: int, dropped: int, damaged: int) -> LiveStatistics:
        """The counts since the last call, or since the start; the next span begins."""
        old_read, old_dropped, old_damaged, old = self._at_span
        counts = {name: count - old[name] for name, count in self._counts.items()}
        counts["unreadable"] += damaged - old_damaged
        seconds = clock - self._span_began
        found = LiveStatistics(
            seconds, read - old_read, dropped=dropped - old_dropped, **counts, **self._span_ages.as_dict()
        )
        self._span_began, self._at_span = clock, (read, dropped, damaged, dict(self._counts))
        self._span_ages = _Ages()
        return found


class _Ages:
    def __init__(self) -> None:
        self._count, self._sum, self._most = 0, 0.0, 0.0

    def add(self, seconds: float) -> None:
        self._count += 1
        self._sum += seconds
        self._most = max(self._most, seconds)

    def as_dict(self) -> dict[str, Any]:
        if not self._count:
            return {}
        return {"mean_age_ms": round(1000 * self._sum / self._count, 2), "max_age_ms": round(1000 * self._most, 2)}
