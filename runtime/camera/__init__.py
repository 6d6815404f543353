"""Frames from a camera, a stream or a folder, the newest first: sources, their formats, and reconnection.

These modules may import the runtime's modules except `cli` and `live`; linuxpy and picamera2 only where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frame import Frame
    from .reader import frames

__all__ = ["Frame", "frames"]


def __getattr__(name: str) -> Any:
    if name == "Frame":
        from .frame import Frame

        return Frame
    if name == "frames":
        from .reader import frames

        return frames
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
