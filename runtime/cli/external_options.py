"""What a person says of a model of someone else's, on the command line."""

from __future__ import annotations

from typing import Any

from ..contract import TASKS
from ..input_spec import COLOURS, FILTERS, RESIZES
from .options import Option


def scaling(text: str) -> tuple[float, ...]:
    """One number, or three between commas; raises ValueError."""
    return _numbers(text, float, (1, 3), "a number, or three between commas")


def colour(text: str) -> tuple[int, ...]:
    """Three whole numbers between commas; raises ValueError."""
    return _numbers(text, int, (3,), "three whole numbers between commas")


def _numbers(text: str, kind: type[Any], lengths: tuple[int, ...], wanted: str) -> tuple[Any, ...]:
    try:
        found = tuple(kind(word) for word in text.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} is not {wanted}") from error
    if len(found) not in lengths:
        raise ValueError(f"{text!r} is not {wanted}")
    return found


_SCALED = "{} of (pixel - mean) / std, in pixel units."
EXTERNAL_OPTIONS = (
    Option(("--labels",), "One label a line, in the order of the outputs.", metavar="FILE"),
    Option(("--colour",), "What the input's channels are.", choices=tuple(COLOURS)),
    Option(("--resize",), "How a picture gets the input's size.", choices=RESIZES),
    Option(("--filter",), "The resampling filter.", choices=FILTERS),
    Option(("--background",), "Under what is transparent, and into padding.", type=colour, metavar="R,G,B"),
    Option(("--mean",), _SCALED.format("Mean"), type=scaling, metavar="N[,N,N]"),
    Option(("--std",), _SCALED.format("Std"), type=scaling, metavar="N[,N,N]"),
    Option(("--task",), "What the outputs mean.", choices=TASKS),
)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """What was given of them, as `Classifier` takes it."""
    return {name: value for name, value in values.items() if value is not None}
