"""Progress of long work. By default nothing shows it.

A library must not draw on its host's terminal. So long loops report to `progress`, and a program chooses with
`report_to` how it is shown: the commands draw a bar.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

Self = TypeVar("Self")


class Progress(Protocol):
    """Work under way, as a context manager."""

    def __enter__(self: Self) -> Self: ...

    def __exit__(self, *error: Any) -> Any: ...

    def update(self, n_steps: int, current_item: Any = None) -> None:
        """Report that `n_steps` more steps are done, and optionally a text about the last one."""


#: Called with the number of steps and a label.
Reporter: TypeAlias = Callable[[int, str], Progress]


class Silent:
    """Progress that is not shown."""

    def __init__(self, _length: int, _label: str) -> None:
        """Remember nothing."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to end."""

    def update(self, n_steps: int, current_item: Any = None) -> None:
        """Nothing to show."""


_reporter: Reporter = Silent


def report_to(reporter: Reporter) -> None:
    """Report all progress of this process to a reporter.

    Child processes that `child_process` starts with `shows_progress` report to the same one.

    Args:
        reporter: a function or class at the top level of a module, so that a child process can import it.
    """
    global _reporter  # one terminal a process, so one reporter
    _reporter = reporter


def reporter_name() -> str:
    """The reporter of this process, as `"package.module:name"`."""
    return f"{_reporter.__module__}:{_reporter.__qualname__}"


def report_to_named(name: str) -> None:
    """As `report_to`, with a name from `reporter_name` in another process."""
    module, _, attribute = name.partition(":")
    report_to(getattr(importlib.import_module(module), attribute))


def progress(length: int, label: str) -> Progress:
    """Begin work of `length` steps; use it as a context manager and call `update` for each step done."""
    return _reporter(length, label)


def duration(seconds: float) -> str:
    """A time for people: seconds, minutes, or hours and minutes."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
