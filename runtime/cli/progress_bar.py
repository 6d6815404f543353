"""The progress bars of the commands: one line for each work under way, at the bottom of the terminal.

rich keeps the lines below all that is printed meanwhile. A device does not have rich; there the line is drawn anew
behind a carriage return. Where standard error is no terminal, the label is printed once.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from collections import deque
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from ..errors import shortened
from ..files import shown
from ..progress import Progress, Silent, duration
from .output import print_line, redraw_line

Self = TypeVar("Self", bound="_Bar")

_MAX_BAR, _MIN_BAR = 30, 8
_SECONDS_BETWEEN_DRAWINGS = 0.1
#: The speed is that of the last half minute.
_SPEED_SECONDS, _MIN_SAMPLES = 30, 10


def begin_bar(length: int, label: str) -> Progress:
    """The reporter of the commands: a bar on a terminal, else the label on a line of its own."""
    if sys.stderr is None:
        return Silent(length, label)
    return _Bar(length, shown(label)) if is_terminal() else _Announced(length, label)


def is_terminal() -> bool:
    """Whether standard error is a terminal that can draw a line anew."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def terminal_width() -> int:
    """Columns of the terminal that standard error writes to."""
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


class _Announced(Silent):
    def __init__(self, length: int, label: str) -> None:
        super().__init__(length, label)
        print_line(label, error=True)


class _Sample(NamedTuple):
    time: float
    done: int


class _Bar:
    def __init__(self, length: int, label: str) -> None:
        self._length, self._label, self._item = length, label, ""
        self._done = 0
        self._samples: deque[_Sample] = deque()

    def __enter__(self: Self) -> Self:
        _display.add(self)
        return self

    def __exit__(self, *_error: object) -> None:
        _display.remove(self)

    def update(self, n_steps: int, current_item: Any = None) -> None:
        self._done += n_steps
        if current_item is not None:
            self._item = shown(shortened(str(current_item), 200, 0))
        now = time.monotonic()
        if not self._samples or now - self._samples[-1].time >= _SECONDS_BETWEEN_DRAWINGS:
            self._samples.append(_Sample(now, self._done))
            while len(self._samples) > _MIN_SAMPLES and now - self._samples[0].time > _SPEED_SECONDS:
                self._samples.popleft()
            _display.draw()

    def seconds_left(self) -> float | None:
        """The time left at the speed of the last half minute; None while it is unknown.

        The clock starts after the first step, and the longest pause is left out: networks are compiled in the first
        step of a training and in its first validation.
        """
        samples = list(self._samples)
        gaps = [(b.time - a.time, b.done - a.done) for a, b in pairwise(samples)]
        if len(gaps) > 1:
            gaps.remove(max(gaps))
        steps = sum(done for _, done in gaps)
        if not steps or self._length < self._done:
            return None
        return (self._length - self._done) * sum(seconds for seconds, _ in gaps) / steps

    def line(self, width: int, full: str, empty: str) -> tuple[str, str, str, str]:
        """What is drawn in a terminal of `width` columns: label, bar done, bar to do, and figures."""
        share = min(1.0, self._done / self._length) if self._length > 0 else 0.0
        left = self.seconds_left()
        figures = [f"{share:4.0%}"] if self._length > 0 else []
        figures += [f"{duration(left)} left"] if left is not None else []
        # The last column stays empty: some terminals wrap a line that fills it.
        label = self._label[: max(0, width - 3 - len("  ".join(figures)))]
        room = width - 3 - len(label) - len("  ".join(figures))
        for part in filter(None, self._item.split("  ")):
            if room < len(part) + 2:
                break
            figures.append(part)
            room -= len(part) + 2
        bar = min(_MAX_BAR, room) if room >= _MIN_BAR and self._length > 0 else 0
        done = round(share * bar)
        return f"{label} ", full * done, empty * (bar - done), f" {'  '.join(figures)}"[: max(0, width - 3)]


class _Display:
    """The bars under way, drawn together."""

    def __init__(self) -> None:
        self._bars: list[_Bar] = []
        self._live: Any = None
        self._console: Any = None

    def add(self, bar: _Bar) -> None:
        self._bars.append(bar)
        if self._live is None and importlib.util.find_spec("rich") is not None:
            # By name, so that PyInstaller does not put rich into an application that has no use for it.
            self._console = importlib.import_module("rich.console").Console(stderr=True)
            # Without a thread that draws: a training's time is its own, and a fork copies no lock of another thread.
            self._live = importlib.import_module("rich.live").Live(
                get_renderable=self._renderable,
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start()
        self.draw()

    def remove(self, bar: _Bar) -> None:
        self._bars.remove(bar)
        if self._live is None:
            redraw_line("")
        elif not self._bars:
            self._live.stop()
            self._live = None
        self.draw()

    def draw(self) -> None:
        if self._live is not None:
            self._live.refresh()
        elif self._bars:
            full, empty = _characters()
            redraw_line("".join(self._bars[-1].line(terminal_width(), full, empty)))

    def _renderable(self) -> Any:
        text = importlib.import_module("rich.text").Text
        lines = text(no_wrap=True, overflow="crop")
        for number, bar in enumerate(self._bars):
            label, done, rest, figures = bar.line(self._console.width, *_characters())
            lines.append("\n" * (number > 0) + label)
            lines.append(done, "green").append(rest, "bright_black").append(figures)
        return lines


def _characters() -> tuple[str, str]:
    stream = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
    return ("━", "─") if stream.encoding.lower().startswith("utf") else ("#", "-")


_display = _Display()  # one terminal a process
