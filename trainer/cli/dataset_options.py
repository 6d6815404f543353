"""The options that say which data set is meant, for commands that look at one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.contract import TASKS
from runtime.input_spec import RESIZES

from .training_options import _image_size

if TYPE_CHECKING:
    from ..data import Dataset

#: How the pictures are brought to a size: for commands that have no model which says it.
GEOMETRY_OPTIONS = (
    click.option("--image-size", callback=_image_size, metavar="N|HxW", help="Input size. [default: by data set]"),
    click.option("--colour", type=click.Choice(["grey", "rgb"]), help="Of the input. [default: by data set]"),
    click.option(
        "--resize", type=click.Choice(RESIZES), default="stretch", show_default=True, help="To the input size."
    ),
)
SOURCE_OPTIONS = (
    click.option("--data-dir", type=click.Path(path_type=Path), help="Where Fashion-MNIST's four files lie."),
    click.option("--merge", multiple=True, metavar="A,B=C", help="Make the classes A and B one, C; repeatable."),
)
#: The question; for commands that have no model which asks it.
TASK_OPTIONS = (
    click.option("--task", type=click.Choice(TASKS), help="What is answered. [default: by data set, or binary]"),
    click.option("--positive", metavar="NAME", help="Tell this class from all the rest: the task binary."),
)


def with_all(options: tuple[Callable[..., Any], ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds options to a command, in the order in which `--help` is to show them."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def load(
    name: str,
    *,
    data_dir: Path | None,
    merge: tuple[str, ...],
    task: str | None = None,
    positive: str | None = None,
    image_size: tuple[int, int] | None = None,
    colour: str | None = None,
    resize: str = "stretch",
) -> Dataset:
    """The data set that the options name.

    Raises:
        DatasetError: it is missing, damaged or too small, or the options do not fit it.
    """
    from ..data import Geometry, load_dataset
    from ..data.relabel import choose_task, merge_classes

    # A command without these options has them from its model.
    asked = "image_size" in click.get_current_context().params
    found = load_dataset(name, Geometry(image_size, colour, resize, asked), data_dir)
    return choose_task(merge_classes(found, merge), task, positive)
