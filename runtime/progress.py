"""Progress of long work, reported to whoever wants to show it; by default to nobody.

A library must not draw on its host's terminal. So long loops report to `progress`, and a program chooses with
`report_to` what becomes of it: the commands draw a bar.
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
        """Report that so many more steps are done, and optionally a text about the last one."""


#: Called with the number of steps and a label.
Reporter: TypeAlias = Callable[[int, str], Progress]


class Silent:
    """Progress that nobody watches."""

    def __init__(self, _length: int, _label: str) -> None:
        """Remember nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to end."""

    def update(self, n_steps: int, current_item: Any = None) -> None:
        """Nothing to show."""


_reporter: Reporter = Silent


def report_to(reporter: Reporter) -> None:
    """Let all progress of this process be reported to a function or class that a module defines by name.

    A child process that works for this one reports to the same.
    """
    global _reporter  # one terminal a process, so one reporter
    _reporter = reporter


def reporter_name() -> str:
    """What `report_to` was given, as `"package.module:name"`."""
    return f"{_reporter.__module__}:{_reporter.__qualname__}"


def report_to_named(name: str) -> None:
    """As `report_to`, with what `reporter_name` gave in another process."""
    module, _, attribute = name.partition(":")
    report_to(getattr(importlib.import_module(module), attribute))


def progress(length: int, label: str) -> Progress:
    """Begin work of `length` steps; use it as a context manager and call `update` for each step done."""
    return _reporter(length, label)
