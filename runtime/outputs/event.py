"""What is told: one change of the answer, or one answer if each is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Event(NamedTuple):
    """A change of what a model answers about a source.

    Attributes:
        time: when the frame was captured, in seconds since 1970.
        source: what was looked at, as the user named it.
        label: the label; "unknown" if no score reached the threshold.
        score: its score, 0 to 1.
        since: when the label began, in seconds since 1970.
        frames: how many frames have had this label since then.
        previous: the label before it; None if this is the first.
        scores: each label's score.
        picture: the frame as a JPEG file, as captured; None if no output wants pictures.
        age_ms: milliseconds from the capture to the answer; None if they were not measured.

    Example:
        >>> Event(1764172800.0, "door", "open", 0.75, 1764172799.5, 3, "closed", {"open": 0.75}).as_dict()["label"]
        'open'
    """

    time: float
    source: str
    label: str
    score: float
    since: float
    frames: int
    previous: str | None
    scores: Mapping[str, float]
    picture: bytes | None = None
    age_ms: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """All attributes but the picture, for JSON."""
        document = {**self._asdict(), "scores": dict(self.scores)}
        del document["picture"]
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], picture: bytes | None = None) -> Event:
        """Read back what `as_dict` gave.

        The queue on the disk may lie where strangers write, so every value is checked.

        Raises:
            ValueError, KeyError, TypeError: it is no event.
        """
        previous, age = document["previous"], document["age_ms"]
        event = cls(
            _number(document["time"]),
            _text(document["source"]),
            _text(document["label"]),
            _number(document["score"]),
            _number(document["since"]),
            int(_number(document["frames"])),
            None if previous is None else _text(previous),
            {_text(label): _number(score) for label, score in document["scores"].items()},
            picture,
            None if age is None else _number(age),
        )
        if picture is not None and not isinstance(picture, bytes):
            raise TypeError(f"the picture is {type(picture).__name__}, expected bytes")
        return event


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
