"""Answers on frames as they come: states instead of single answers, a motion gate, statistics, and the loop.

These modules may import the runtime's modules except `cli`, `watch` and `serve`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import LiveEngine, changes
    from .motion import MotionGate
    from .stabilizer import Change, Stabilizer

__all__ = ["Change", "LiveEngine", "MotionGate", "Stabilizer", "changes"]

_HOMES = {
    "Change": "stabilizer",
    "LiveEngine": "engine",
    "MotionGate": "motion",
    "Stabilizer": "stabilizer",
    "changes": "engine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
