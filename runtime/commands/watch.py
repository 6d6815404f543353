"""`pocketlens watch`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from runtime.arrivals import Folder
from runtime.classifier import DEFAULT_TOP, Classifier
from runtime.command_line import Command
from runtime.commands.classify import MODEL_VARIABLE, _default_model
from runtime.errors import ActionError
from runtime.files import shown
from runtime.interpreter import AUTO, LIBRARIES
from runtime.journal import DEFAULT_NAME, Journal
from runtime.moving import Mover
from runtime.prediction import Prediction, choose_labels
from runtime.program import Program
from runtime.quiet import held_stderr
from runtime.systemd import Service
from runtime.watching import Answer, Watch

_SECONDS = click.FloatRange(0, 86_400)
_WAIT = click.FloatRange(0.01, 86_400)


def model_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that choose the model and its answers, the same as those of `classify`."""
    count = click.IntRange(min=1)
    libraries = click.Choice([AUTO, *LIBRARIES])
    for option in reversed(
        [
            click.option("--model", metavar="FILE", help=f"The model; else ${MODEL_VARIABLE}, else the newest here."),
            click.option("--top", type=count, default=DEFAULT_TOP, show_default=True, help="Answers an image."),
            click.option(
                "--min-score", type=click.FloatRange(0, 1), default=0.0, help='A lower score is no answer: "unknown".'
            ),
            click.option("--allow", multiple=True, metavar="LABEL", help="Answer with this label only; repeatable."),
            click.option("--deny", multiple=True, metavar="LABEL", help="Never answer with this label; repeatable."),
            click.option(
                "--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of one invocation."
            ),
            click.option("--interpreter", type=libraries, default=AUTO, show_default=True, help="The library to use."),
            click.option("--delegate", metavar="LIBRARY", help="An accelerator's library, such as libedgetpu.so.1."),
        ]
    ):
        function = option(function)
    return function


def load_model(
    model: str | None,
    top: int,
    min_score: float,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    threads: int,
    interpreter: str,
    delegate: str | None,
) -> tuple[tuple[str, ...], Callable[[bytes], list[Prediction]]]:
    """The labels, and what classifies an encoded image as `model_options` say."""
    path = model or _default_model()
    if not model:
        click.echo(f"model: {shown(path)}", err=True)
    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(path, num_threads=threads, interpreter=interpreter, delegate=delegate)
    labels = classifier.contract.labels
    try:
        choose_labels(labels, allow or None, deny)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return labels, partial(classifier.classify, top=top, min_score=min_score, allow=allow or None, deny=deny)


@click.command(
    cls=Command,
    example="pocketlens watch --model int8.tflite --json incoming/ >> answers.jsonl\n"
    "pocketlens watch --model int8.tflite --move-to 'sorted/{label}' incoming/\n"
    "pocketlens watch --model int8.tflite --exec 'mosquitto_pub -t door -m {label}' incoming/",
)
@model_options
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
            _check_target(Mover(move_to, ()), folder, recursive)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with Service() as service:
        labels, classify = load_model(**model)
        place = Folder(folder, recursive)
        mover = Mover(move_to, labels) if move_to is not None else None
        tell = partial(_tell, as_json=as_json, program=program, alive=service.alive)
        timing = {"interval": interval, "settle": settle, "patience": patience}
        with Journal(journal or place.full(DEFAULT_NAME), folder) as record:
            Watch(place, record, classify, tell, mover=mover, existing=existing, **timing).run(service)


def _check_target(mover: Mover, folder: str, recursive: bool) -> None:
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
