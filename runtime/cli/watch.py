"""`pocketlens watch`."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from ..camera.frame import Frame
from ..errors import ContractError, ImageError, UsageError, WatchError
from ..files import read_regular_file, shown
from ..image_limits import MAX_IMAGE_BYTES
from ..input_spec import FeaturesInput
from ..outputs.event import Event
from ..outputs.outputs import Outputs
from ..service import Service
from ..watch.hook import Hook
from ..watch.journal import DEFAULT_NAME, Journal
from ..watch.journal_file import History
from ..watch.scanner import WatchedFolder
from ..watch.sorter import Sorter
from ..watch.watcher import Delivery, Watcher
from .app import Command, with_options
from .click_options import complete_files, option_in
from .followed_model import RELOAD, running_model
from .model_options import (
    ANSWER_OPTIONS,
    EXTERNAL_OPTIONS,
    INTERPRETER_OPTIONS,
    MODEL,
    RECURSIVE,
    TRUSTED,
)
from .options import JSON_OPTION
from .output import print_json, print_line
from .output_options import OutputSettings, open_outputs, output_options

_SECONDS = click.FloatRange(0, 86_400)
_WAIT = click.FloatRange(0.01, 86_400)


@click.command(
    cls=Command,
    example="pocketlens watch --model int8.tflite --json incoming/ >> answers.jsonl\n"
    "pocketlens watch --model int8.tflite --move-to 'sorted/{label}' incoming/\n"
    "pocketlens watch --mqtt mqtt://broker.local/door incoming/\n"
    "pocketlens watch --history incoming/",
)
@with_options(MODEL, *INTERPRETER_OPTIONS, TRUSTED, *ANSWER_OPTIONS, *EXTERNAL_OPTIONS, RECURSIVE)
@RELOAD
@option_in("Input")(
    "--existing/--no-existing", default=True, show_default=True, help="Answer images that are there at first start."
)
@option_in("Action")(
    "--move-to",
    metavar="FOLDER",
    help="Move each image; {label} in FOLDER stands for its best label. [default: do not move]",
)
@option_in("Input")("--journal", metavar="FILE", help=f"The record of the answers.  [default: DIR/{DEFAULT_NAME}]")
@option_in("Output")(
    "--history", is_flag=True, help="Print the answers in the journal as JSON, one object a line, and end."
)
@option_in("Input")("--interval", type=_WAIT, default=0.5, show_default=True, help="Seconds between two scans of DIR.")
@option_in("Input")(
    "--settle", type=_SECONDS, default=0.5, show_default=True, help="Seconds without change until a file is read."
)
@option_in("Input")(
    "--patience",
    type=_SECONDS,
    default=10.0,
    show_default=True,
    help="Seconds without change until an unreadable file is an error.",
)
@output_options
@with_options(JSON_OPTION, group="Output")
@click.argument("folder", metavar="DIR", shell_complete=complete_files)
def watch(
    folder: str,
    recursive: bool,
    existing: bool,
    move_to: str | None,
    journal: str | None,
    history: bool,
    interval: float,
    settle: float,
    patience: float,
    outputs: OutputSettings,
    as_json: bool,
    **model: Any,
) -> None:
    """Classify each image that arrives in DIR, once, until SIGTERM or Ctrl-C.

    The journal records each answer, so an image is answered once over restarts and kills too. An answer that a kill
    kept from being printed is printed at the next start, with "replayed" in its JSON. An image that replaces another
    one is a new image.

    COMMAND is split into arguments once and run without a shell, after the image was moved and its answer printed. If
    it fails, a warning says so, the watch goes on, and COMMAND is run again later, over restarts too.
    """
    if history:
        _print_history(folder, journal)
        return
    try:
        hook = Hook(outputs.command, outputs.exec_timeout) if outputs.command is not None else None
        if hook is not None:
            hook.check_program()
        if move_to is not None:
            _check_target(Sorter(move_to, ()), folder, recursive)
    except ValueError as error:
        raise UsageError(str(error)) from error
    with Service() as service, running_model("watch", service, **model) as running:
        labels, spec = running.contract.labels, running.contract.input
        if isinstance(spec, FeaturesInput):
            raise ContractError(
                f"the model takes {spec.describe()}, and watch answers images; pipe readings into "
                "`pocketlens classify --model MODEL -`, a line each"
            )
        place = WatchedFolder(folder, recursive)
        sorter = Sorter(move_to, labels) if move_to is not None else None
        actions: dict[str, Any] = {"sorter": sorter, "hook": hook, "retries": outputs.exec_retries}
        timing: dict[str, Any] = {"labels": labels, "interval": interval, "settle": settle, "patience": patience}
        try:
            record = Journal(journal or place.full_path(DEFAULT_NAME), folder, service.keep_going)
        except WatchError:
            if service.stopping:  # a signal ended the reading of a long journal
                return
            raise
        source = os.path.realpath(folder)

        def digest() -> str:
            return running.follower.sha256

        with (
            record,
            open_outputs(outputs, labels=labels, source=source, runs_command=False, model=digest) as opened,
        ):
            deliver = partial(_deliver, teller=Teller(opened), as_json=as_json)
            Watcher(place, record, running.classify, deliver, existing=existing, **actions, **timing).run(service)


def _print_history(folder: str, journal: str | None) -> None:
    for answer, moved_to in History(journal or os.path.join(folder, DEFAULT_NAME), folder):  # noqa: PTH118 - as named
        print_json(Delivery(os.path.join(folder, answer.path), answer, moved_to).as_dict())  # noqa: PTH118


def _check_target(sorter: Sorter, folder: str, recursive: bool) -> None:
    """Refuse to move images to where they are found again: they would be answered for ever."""
    watched = os.path.realpath(folder)
    if recursive and os.path.commonpath([watched, sorter.root]) in (watched, sorter.root):
        raise ValueError("with --recursive, --move-to must name a folder neither in DIR nor around it")


def _deliver(delivery: Delivery, *, teller: Teller, as_json: bool) -> None:
    """Print an answer, and queue it for the outputs."""
    answer = delivery.answer
    if as_json:
        print_json(delivery.as_dict())
    elif answer.error:
        print_line(f"error: {answer.error}", error=True)
    else:
        scores = "  ".join(f"{p.label} {p.score:.3f}" for p in answer.predictions)
        moved = f"  -> {shown(delivery.moved_to)}" if delivery.moved_to else ""
        print_line(f"{shown(delivery.path)}: {scores}{moved}")
    if delivery.move_error:
        print_line(f"warning: {delivery.move_error}", error=True)
    teller.tell(delivery)


class Teller:
    """Tells the answers of a watch to outputs: each image is an event of one frame."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._previous: str | None = None

    def tell(self, delivery: Delivery) -> None:
        """Queue an answer; an error is not told."""
        predictions = delivery.answer.predictions
        if not predictions:
            return
        time = delivery.answer.identity.mtime_ns / 1e9
        scores = {prediction.label: prediction.score for prediction in predictions}
        event = Event(time, delivery.path, predictions[0].label, predictions[0].score, time, 1, self._previous, scores)
        self._previous = event.label
        picture = partial(_picture, delivery)
        self._outputs.tell(event._replace(picture=picture()) if self._outputs.takes_pictures else event)
        if self._outputs.takes_frames:
            self._outputs.see(event, picture)


def _picture(delivery: Delivery) -> bytes | None:
    """The image as a JPEG file; None if it is gone by now."""
    path = delivery.moved_to or delivery.path
    try:
        data, _ = read_regular_file(path, MAX_IMAGE_BYTES, ImageError)
        return Frame(data, None, 0.0, 0.0, path, 1).jpeg()
    except ImageError as error:
        print_line(f"warning: {error}; it is told without its picture", error=True)
        return None
