"""A file of JSON objects, a line each, that only grows: what stands in it survives a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.files import sync_folder


class JsonLines:
    """Lines of JSON in a file. A last line that a loss of power has cut off is removed when the file is opened.

    Args:
        path: the file; it is made with the first line.

    Attributes:
        lines: the objects in the file when it was opened; lines that are none are left out.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = path.read_bytes() if path.exists() else b""
        self.lines = [*_objects(content)]
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)

    def add(self, value: dict[str, Any], *, sync: bool = True) -> None:
        """Append an object; by default it is on the disk when this returns."""
        is_new = not self._path.exists()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, json.dumps(value).encode() + b"\n")
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)
        if is_new:
            sync_folder(self._path.parent)


def _objects(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value
