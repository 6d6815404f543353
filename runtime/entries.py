"""An image's answer as the journal holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

from .prediction import Prediction


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
        """Read it back; the journal may lie where strangers write, so nothing in it is believed unseen.

        Raises:
            ValueError, KeyError, TypeError: it is no entry.
        """
        identity = Identity(*(typed(line[name], int) for name in Identity._fields))
        predictions = tuple(
            Prediction(typed(p["label"], str), float(p["score"]), typed(p["index"], int))
            for p in line.get("predictions", ())
        )
        error, skipped = typed(line.get("error", ""), str), line.get("skipped") is True
        if bool(predictions) + bool(error) + skipped != 1:
            raise ValueError("neither an answer nor an error")
        return cls(_below(line["path"]), identity, predictions, error, skipped)


def typed(value: Any, kind: type[Any]) -> Any:
    """The value, if it is of this very type; raises TypeError."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _below(path: Any) -> str:
    parts = PurePath(typed(path, str)).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} is not below the folder")
    return str(path)
