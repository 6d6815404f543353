"""The options that say what a model of someone else's does not say itself; the same for every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from runtime.contract import COLOURS, FILTERS, RESIZES, TASKS

Function = TypeVar("Function", bound=Callable[..., Any])


def _numbers(kind: type[float], lengths: tuple[int, ...], wanted: str) -> Callable[..., Any]:
    """A callback: numbers between commas to a tuple."""

    def parse(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        try:
            found = tuple(kind(word) for word in value.split(","))
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is not {wanted}") from error
        if len(found) not in lengths:
            raise click.BadParameter(f"{value!r} is not {wanted}")
        return found

    return parse


_SCALING = _numbers(float, (1, 3), "a number, or three between commas")
_OPTIONS = (
    click.option("--labels", metavar="FILE", help="One label a line, in the order of the outputs."),
    click.option("--colour", type=click.Choice(list(COLOURS)), help="What the input's channels are."),
    click.option("--resize", type=click.Choice(RESIZES), help="How a picture gets the input's size."),
    click.option("--filter", type=click.Choice(FILTERS), help="The resampling filter."),
    click.option(
        "--background",
        metavar="R,G,B",
        callback=_numbers(int, (3,), "three whole numbers between commas"),
        help="Under what is transparent, and into padding.",
    ),
    click.option("--mean", metavar="N[,N,N]", callback=_SCALING, help="Of (pixel - mean) / std, in pixel units."),
    click.option("--std", metavar="N[,N,N]", callback=_SCALING, help="Of (pixel - mean) / std, in pixel units."),
    click.option("--task", type=click.Choice(TASKS), help="What the outputs mean."),
)


def foreign_options(command: Function) -> Function:
    """Adds the options to a command, whose function gets them as keywords, None where they are not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given(values: dict[str, Any]) -> dict[str, Any]:
    """What was given of them, as `Classifier` takes it."""
    return {name: value for name, value in values.items() if value is not None}
