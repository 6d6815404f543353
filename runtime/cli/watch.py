"""`pocketlens watch`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from ..errors import ActionError, ContractError, UsageError
from ..files import shown
from ..watch.hook import Program
from ..watch.journal import DEFAULT_NAME, Journal
from ..watch.scanner import Folder
from ..watch.service import Service
from ..watch.sorter import Sorter
from ..watch.watcher import Answer, Watch
from .answering import load
from .app import Command, with_options
from .external_options import EXTERNAL_OPTIONS
from .model_options import ANSWER_OPTIONS, MODEL_OPTIONS

_SECONDS = click.FloatRange(0, 86_400)
_WAIT = click.FloatRange(0.01, 86_400)


@click.command(
    cls=Command,
    example="pocketlens watch --model int8.tflite --json incoming/ >> answers.jsonl\n"
    "pocketlens watch --model int8.tflite --move-to 'sorted/{label}' incoming/\n"
    "pocketlens watch --model int8.tflite --exec 'mosquitto_pub -t door -m {label}' incoming/",
)
@with_options(*MODEL_OPTIONS, *ANSWER_OPTIONS, *EXTERNAL_OPTIONS)
@click.option("--recursive", "-r", is_flag=True, help="Look into the folders of DIR too.")
@click.option("--existing/--no-existing", default=True, show_default=True, help="Answer images there at first start.")
@click.option("--move-to", metavar="FOLDER", help="Move each image; {label} in FOLDER is its best label.")
@click.option("--exec", "command", metavar="COMMAND", help="Run for each image, with {path}, {label} and {score}.")
@click.option("--exec-timeout", type=_WAIT, default=60.0, show_default=True, help="Seconds until COMMAND is killed.")
@click.option("--journal", metavar="FILE", help=f"The record of what was answered.  [default: DIR/{DEFAULT_NAME}]")
@click.option("--interval", type=_WAIT, default=0.5, show_default=True, help="Seconds between two looks at DIR.")
@click.option("--settle", type=_SECONDS, default=0.5, show_default=True, help="Seconds a file must stand still.")
@click.option(
    "--patience", type=_SECONDS, default=10.0, show_default=True, help="The same, for one that cannot be read yet."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, an image each.")
@click.argument("folder", metavar="DIR")
def watch(
    folder: str,
    recursive: bool,
    existing: bool,
    move_to: str | None,
    command: str | None,
    exec_timeout: float,
    journal: str | None,
    interval: float,
    settle: float,
    patience: float,
    as_json: bool,
    **model: Any,
) -> None:
    """Classify each image that arrives in DIR, once, until SIGTERM or Ctrl-C.

    Also over a restart, after a kill too: what was answered stands in the journal. What a kill kept from being
    printed is printed at the next start, with "replayed" in its JSON. An image put in another's place is a new one.

    COMMAND is split into arguments once and run without a shell, after the image was moved and printed. If it fails,
    that is said on standard error, and the watch goes on.
    """
    try:
        program = Program(command, exec_timeout) if command is not None else None
        if move_to is not None:
            _check_target(Sorter(move_to, ()), folder, recursive)
    except ValueError as error:
        raise UsageError(str(error)) from error
    with Service() as service:
        answering = load(**model)
        if answering.features is not None:
            raise ContractError(
                f"the model takes {answering.features.describe()}, and watch answers images; pipe readings into "
                "`pocketlens classify --model MODEL -`, a line each"
            )
        place = Folder(folder, recursive)
        mover = Sorter(move_to, answering.labels) if move_to is not None else None
        tell = partial(_tell, as_json=as_json, program=program, alive=service.alive)
        timing = {"interval": interval, "settle": settle, "patience": patience}
        with Journal(journal or place.full(DEFAULT_NAME), folder) as record:
            Watch(place, record, answering.classify, tell, mover=mover, existing=existing, **timing).run(service)


def _check_target(mover: Sorter, folder: str, recursive: bool) -> None:
    """A folder that is looked into must not be one that is moved to: its images would go round for ever."""
    watched = os.path.realpath(folder)
    if recursive and os.path.commonpath([watched, mover.root]) in (watched, mover.root):
        raise ValueError("with --recursive, --move-to must name a folder neither in DIR nor around it")


def _tell(answer: Answer, *, as_json: bool, program: Program | None, alive: Callable[[], object]) -> None:
    if as_json:
        # Escaped to ASCII: a file name need not be text. Flushed by echo, so that a reader sees each line at once.
        click.echo(json.dumps(answer.as_dict()))
    elif answer.entry.error:
        click.echo(f"error: {answer.entry.error}", err=True)
    else:
        scores = "  ".join(f"{p.label} {p.score:.3f}" for p in answer.entry.predictions)
        moved = f"  -> {shown(answer.moved_to)}" if answer.moved_to else ""
        click.echo(f"{shown(answer.path)}: {scores}{moved}")
    if answer.problem:
        click.echo(f"warning: {answer.problem}", err=True)
    if program is not None and answer.entry.predictions:
        try:
            program.run(answer.moved_to or answer.path, answer.entry.predictions[0], alive)
        except ActionError as error:
            click.echo(f"warning: {error}", err=True)
