"""Counts of a server in the text format of Prometheus."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..live.statistics import LiveStatistics
    from .connections import Connections

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper bounds of the histogram, in seconds.
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_THERMAL_FOLDER = Path("/sys/class/thermal")
#: Kinds of sensors of the kernel that sit at the processor.
_PROCESSOR_SENSORS = ("cpu", "soc", "pkg", "core")


class ServeMetrics:
    """Counts answers, errors and their times; for the thread of the event loop."""

    def __init__(self) -> None:
        self.answers = 0
        self.errors: Counter[int] = Counter()
        self.under_way = 0
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def count(self, status: int, seconds: float) -> None:
        """Count the answer to one picture."""
        if status == 200:
            self.answers += 1
        else:
            self.errors[status] += 1
        self._buckets[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def text(self, connections: Connections | None = None, live: LiveStatistics | None = None) -> str:
        """All metrics."""
        lines = [*self._request_lines()]
        if connections is not None:
            lines += _metric("connections", "gauge", "Open connections.", {"": len(connections.open)})
            closed = {f'{{reason="{reason}"}}': count for reason, count in sorted(connections.closed.items())}
            lines += _metric("connections_closed_total", "counter", "Connections that the server has closed.", closed)
        if live is not None:
            lines += _metric("frames_total", "counter", "Frames of the source.", {"": live.frames})
            lines += _metric("frames_answered_total", "counter", "Frames that were answered.", {"": live.answered})
            lines += _metric("frames_dropped_total", "counter", "Frames that a newer one replaced.", {"": live.dropped})
            lines += _metric("changes_total", "counter", "Changes of the state.", {"": live.changes})
        temperature = processor_temperature()
        if temperature is not None:
            lines += _metric("temperature_celsius", "gauge", "Temperature of the processor.", {"": temperature})
        return "\n".join(lines) + "\n"

    def _request_lines(self) -> Iterator[str]:
        yield from _metric("answers_total", "counter", "Pictures that were answered.", {"": self.answers})
        errors = {f'{{status="{status}"}}': count for status, count in sorted(self.errors.items())}
        yield from _metric("errors_total", "counter", "Pictures that were refused.", errors)
        yield from _metric("requests_under_way", "gauge", "Pictures that are being answered.", {"": self.under_way})
        name, total, buckets = "request_seconds", 0, {}
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._buckets, strict=True):
            total += count
            buckets[f'_bucket{{le="{bound}"}}'] = total
        rest: dict[str, float] = {"_sum": round(self._seconds, 6), "_count": total}
        yield from _metric(name, "histogram", "From the end of the head to the answer.", buckets | rest)


def _metric(name: str, kind: str, text: str, values: dict[str, float] | dict[str, int]) -> Iterator[str]:
    yield f"# HELP pocketlens_{name} {text}"
    yield f"# TYPE pocketlens_{name} {kind}"
    for suffix, value in values.items():
        yield (
            f"pocketlens_{name}{suffix} {value:g}" if isinstance(value, float) else f"pocketlens_{name}{suffix} {value}"
        )


def processor_temperature(folder: Path = _THERMAL_FOLDER) -> float | None:
    """The highest temperature of the processor in degrees Celsius; None where the kernel names none."""
    found: list[float] = []
    with suppress(OSError):
        for zone in sorted(folder.glob("thermal_zone*")):
            with suppress(OSError, ValueError):
                kind = (zone / "type").read_text().strip().lower()
                if any(name in kind for name in _PROCESSOR_SENSORS):
                    found.append(int((zone / "temp").read_text()) / 1000)
    return max(found, default=None)
