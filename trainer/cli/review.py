"""`pocketlens review`."""

from __future__ import annotations

import logging
import secrets
import threading
import webbrowser
from pathlib import Path
from typing import Any

import click

from runtime.cli.app import Command, with_options
from runtime.cli.click_options import option_in
from runtime.cli.options import JSON_OPTION
from runtime.cli.output import print_json, print_line
from runtime.memory import share_heap
from runtime.progress import Silent, report_to
from runtime.serve.listener import LOOPBACK, open_listener, url_of
from runtime.service import Service


@click.command(
    "review",
    cls=Command,
    requires=("starlette", "uvicorn", "sklearn"),
    example="pocketlens collect pi@door:/var/lib/door/unsure --into review/\n"
    "pocketlens review review/ --dataset photos/\n"
    "pocketlens review review/ --dataset photos/ --random-to test",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@option_in("Pictures")(
    "--dataset",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    required=True,
    help="The data set that labelled pictures go to: a folder for each class, in train/ where there are splits.",
)
@option_in("Pictures")(
    "--model",
    metavar="FILE",
    help="A model that looks at the pictures anew; its embedding, if it has one, says how pictures differ.  "
    "[default: the scores that came with them]",
)
@option_in("Pictures")(
    "--random-to",
    type=click.Choice(["train", "test"]),
    default="train",
    show_default=True,
    help="The split for pictures that the device chose at random; all others go to train.",
)
@option_in("Page")("--port", type=click.IntRange(0, 65_535), default=0, help="Its port.  [default: a free one]")
@option_in("Page")("--no-browser", is_flag=True, help="Open no browser; the address is printed in any case.")
@with_options(JSON_OPTION)
def review(
    folder: Path, dataset: Path, model: str | None, random_to: str, port: int, no_browser: bool, as_json: bool
) -> None:
    """Label collected pictures on a page in the browser, those first whose label helps most; end it with Ctrl-C.

    DIR is the folder of `pocketlens collect`, or any folder of pictures. The page is for this machine and the printed
    address alone. Number keys label, Enter takes the model's guess, - is "none of these", Space skips, Backspace
    undoes. Each decision is on the disk at once, and the next start goes on.

    A labelled picture is copied into its class folder, with a row in SOURCES.csv; the ones of none of the classes go to
    none-of-these/ in DIR. A picture of the random share shows what the device sees, so it may go to a test split:
    choose --random-to test for this. Near copies get one decision, and the first of them goes into the data set.
    """
    from runtime.serve.connections import HttpServer

    from ..review.app import Review
    from ..review.class_folders import ClassFolders, ReviewError
    from ..review.collection import open_folder

    share_heap()  # before threads are started
    if not folder.is_dir():
        raise ReviewError(f"{folder}: no such folder; collect pictures into it first (`pocketlens collect`)")
    target = ClassFolders(dataset, random_to)
    token, code = secrets.token_urlsafe(24), None if no_browser else secrets.token_urlsafe(24)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    with (
        Service() as service,
        open_listener(LOOPBACK, port) as listener,
        open_folder(folder),
    ):
        opened = Review(folder, target, token, _classifier(model, target.classes), code)
        report_to(Silent)  # the page shows it
        page = f"{url_of(listener)}/"

        def start() -> None:
            opened.start()
            _announce(f"{page}#token={token}", target.has_splits, random_to, as_json)
            service.ready()
            if not no_browser:
                threading.Thread(target=webbrowser.open, args=(f"{page}#once={code}",), daemon=True).start()

        try:
            HttpServer(opened.app, opened.connections, service.keep_going, start, lambda: None).listen(listener)
        finally:
            opened.close()
        _print_summary(opened.summary(), as_json)


def _classifier(model: str | None, classes: list[str]) -> Any:
    """The model, which must know at least one of the classes."""
    if model is None:
        return None
    from runtime import Classifier, ContractError, ImageInput

    from ..data.folder_layout import listed

    loaded = Classifier(model)
    if not isinstance(loaded.contract.input, ImageInput):
        raise ContractError(f"{model}: takes {loaded.contract.input.describe()}, and review shows pictures")
    if not {*classes} & {*loaded.contract.labels}:
        raise ContractError(
            f"{model}: its labels ({listed(loaded.contract.labels)}) are none of the classes ({listed(classes)}); name "
            "a model that was trained for them, or leave --model out"
        )
    return loaded


def _announce(url: str, has_splits: bool, random_to: str, as_json: bool) -> None:
    if as_json:
        print_json({"url": url})
        return
    print_line(f"review at {url}")
    if random_to == "test":
        print_line("pictures of the random share go to the test split, all others to train")
    elif not has_splits:
        print_line(
            "note: without the folders train/ and test/ a training picks its test images from all; a model is "
            "then measured on pictures that were kept as they are hard"
        )


def _print_summary(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    labels = ", ".join(f"{count:,} {label}" for label, count in summary["labelled"].items())
    print_line(f"labelled: {sum(summary['labelled'].values()):,}{f' ({labels})' if labels else ''}")
    print_line(
        f"none of these: {summary['none']:,}, skipped: {summary['skipped']:,}, near copies: {summary['copies']:,}, "
        f"cannot be read: {summary['unreadable']:,}, left: {summary['left']:,}"
    )
