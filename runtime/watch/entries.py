"""An image's answer as the journal holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..postprocessing import Prediction


class Identity(NamedTuple):
    """What tells a file from another one of the same name: bytes, time of the last change, number on its disk."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class Entry:
    """An image's answer.

    Attributes:
        path: below the watched folder, with `/` between the parts.
        identity: of the file that was read.
        predictions: best first; empty where there is an error.
        error: why the image could not be read, or "".
        skipped: not answered on purpose, as it was there before the watch began.
    """

    path: str
    identity: Identity
    predictions: tuple[Prediction, ...] = ()
    error: str = ""
    skipped: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it back."""
        line: dict[str, Any] = {"path": self.path, **self.identity._asdict()}
        if self.skipped:
            return {**line, "skipped": True}
        if self.error:
            return {**line, "error": self.error}
        return {**line, "predictions": [p.as_dict() for p in self.predictions]}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Entry:
        """Read it back.

        Raises:
            ValueError, KeyError, TypeError: it is no entry.
        """
        path, identity = place_of(line)
        predictions = tuple(
            Prediction(typed(p["label"], str), float(p["score"]), typed(p["index"], int))
            for p in line.get("predictions", ())
        )
        return cls(path, identity, predictions, typed(line.get("error", ""), str), "skipped" in line)


def place_of(line: Mapping[str, Any]) -> tuple[str, Identity]:
    """Which file a line is about; the journal may lie where strangers write, so nothing in it is believed unseen.

    Raises:
        ValueError, KeyError, TypeError: it is no entry.
    """
    path = typed(line["path"], str)
    if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise ValueError(f"{path!r} is not below the folder")
    if ("predictions" in line) + ("error" in line) + ("skipped" in line) != 1:
        raise ValueError("neither an answer nor an error")
    return path, Identity(typed(line["size"], int), typed(line["mtime_ns"], int), typed(line["inode"], int))


def typed(value: Any, kind: type[Any]) -> Any:
    """The value, if it is of this very type; raises TypeError."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
