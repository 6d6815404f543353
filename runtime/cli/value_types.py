"""click's numbers and choices, whose refusals say what is wanted, and what was probably meant.

click says that `1%` "is not a valid float range". These types say "expected a number from 0 to 1; 1 % is 0.01".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from ..recognition import is_same_word, suggestion

_UNBOUNDED = 2**31 - 1
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


class _NumberInWords(click.ParamType):  # type: ignore[type-arg]  # no generic in click 8.1, which Debian has
    """Adds to a number type of click that a refused value is answered with what is expected."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = super().convert(value, param, ctx)
            if number != number:
                raise click.BadParameter("not a number")
            return number
        except click.BadParameter:
            return self.fail(f"{str(value)!r}, expected {_wanted(self)}{_hint(str(value), self)}", param, ctx)


class _Integer(_NumberInWords, click.types.IntParamType):
    """`click.INT`."""


class _Number(_NumberInWords, click.types.FloatParamType):
    """`click.FLOAT`."""


class _IntegerRange(_NumberInWords, click.IntRange):
    """`click.IntRange`."""


class _NumberRange(_NumberInWords, click.FloatRange):
    """`click.FloatRange`."""


class _Choice(click.Choice):  # type: ignore[type-arg]
    """`click.Choice`, in any case, with dashes or underscores, and with a suggestion."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        same = [choice for choice in self.choices if is_same_word(str(value), choice)]
        if len(same) == 1:
            return same[0]
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            hint = suggestion(str(value), self.choices)
            return self.fail(f"{error.message.rstrip('.')}{hint or '.'}", param, ctx)


class TextType(click.ParamType):  # type: ignore[type-arg]  # no generic in click 8.1, which Debian has
    """A value that a function reads from a text."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


def seconds(text: str) -> float:
    """The seconds of a text such as `2s`, `500ms`, `1.5m` or `2`; raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|)", text.strip())
    if not found:
        raise ValueError(f"{text!r} is no time; expected seconds, or such as 500ms, 2s, 1m")
    return float(found[1]) * _UNITS[found[2]]


#: A time of an option, in seconds.
TIME = TextType("time", seconds)


def in_words(kind: click.ParamType[Any]) -> click.ParamType[Any]:
    """The type that takes the same values as a type of click, and answers others better."""
    if isinstance(kind, click.Choice):
        return _Choice(kind.choices, case_sensitive=False)
    if isinstance(kind, click.IntRange):
        return _IntegerRange(kind.min, kind.max, kind.min_open, kind.max_open)
    if isinstance(kind, click.FloatRange):
        return _NumberRange(kind.min, kind.max, kind.min_open, kind.max_open)
    if isinstance(kind, click.types.IntParamType):
        return _Integer()
    return _Number() if isinstance(kind, click.types.FloatParamType) else kind


def range_in_words(kind: click.IntRange | click.FloatRange) -> str:
    """The limits of a number, such as `1 to 64` or `above 0`; "" where the only limit is that it is not negative."""
    low, high = kind.min, kind.max
    if low is None or (high is not None and high < _UNBOUNDED):
        limits = f"above {low:,}, at most {high:,}" if kind.min_open else f"{low:,} to {high:,}"
        return f"up to {high:,}" if low is None else limits
    return f"{'above' if kind.min_open else 'at least'} {low:,}" if low or kind.min_open else ""


def _wanted(kind: click.ParamType[Any]) -> str:
    noun = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return noun
    limits = range_in_words(kind) or "at least 0"
    return f"{noun} from {limits}" if limits[0].isdigit() else f"{noun}{',' * limits.startswith('at')} {limits}"


def _hint(text: str, kind: click.ParamType[Any]) -> str:
    """What may have been meant by a refused number: a share as percent, or a decimal comma."""
    percent = re.fullmatch(r"(\d+(?:\.\d+)?) ?%?", text)
    if percent and isinstance(kind, click.FloatRange) and (kind.min, kind.max) == (0, 1) and float(percent[1]) <= 100:
        return f"; {percent[1]} % is {float(percent[1]) / 100:g}"
    if re.fullmatch(r"\d+,\d+", text) and not isinstance(kind, click.types.IntParamType):
        return f"; did you mean {text.replace(',', '.')}?"
    return ""
