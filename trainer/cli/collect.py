"""`pocketlens collect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runtime.cli.app import STATUS_ERROR, Command, with_options
from runtime.cli.click_options import option_in
from runtime.cli.options import JSON_OPTION
from runtime.cli.output import print_json, print_line
from runtime.cli.output_options import ByteSize
from runtime.errors import PocketlensError, describe


@click.command(
    "collect",
    cls=Command,
    quiet=True,
    option_names={"most_bytes": "--most"},
    example="pocketlens collect pi@door:/var/lib/door/unsure --into review/\n"
    "pocketlens collect /media/usb/unsure pi@gate:unsure --into review/ --json\n"
    "pocketlens review review/ --dataset photos/",
)
@click.argument("source", metavar="SOURCE...", nargs=-1, required=True)
@option_in("Pictures")(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    required=True,
    help="The review folder; it is made if it is missing.",
)
@option_in("Pictures")(
    "--most",
    "most_bytes",
    type=ByteSize(),
    metavar="SIZE",
    default="2GB",
    show_default=True,
    help="Bytes of pictures from one source; what is beyond them waits for the next time.",
)
@with_options(JSON_OPTION)
def collect(source: tuple[str, ...], into: Path, most_bytes: int, as_json: bool) -> None:
    """Collect the pictures that devices have kept (`live --uncertain FOLDER`), each picture once.

    SOURCE is a folder, such as a USB stick, or USER@HOST:PATH, which rsync reads over ssh. Pictures that are in the
    review folder, were labelled, or were removed from it by hand are not taken again. Files that are no pictures, links
    and names that lead elsewhere are passed over. A source that fails does not stop the others; the exit status is 1.
    """
    from ..review.collection import Collection, open_folder, source_of

    opened = [source_of(text, into) for text in source]
    into.mkdir(parents=True, exist_ok=True)
    has_failed = False
    with open_folder(into):
        collection = Collection(into)
        for place in opened:
            try:
                found = collection.collect(place, most_bytes)
            except PocketlensError as error:
                has_failed = True
                _print_problem(place.name, describe(error), as_json)
                continue
            if as_json:
                print_json(found.as_dict())
            else:
                print_line(f"{found.source}: {_summary(found.as_dict())}")
    if has_failed:
        click.get_current_context().exit(STATUS_ERROR)


def _print_problem(source: str, problem: str, as_json: bool) -> None:
    print_line(f"error: {problem}", error=True)
    if as_json:
        print_json({"source": source, "error": problem})


def _summary(found: dict[str, Any]) -> str:
    parts = [f"{found['new']:,} new ({found['bytes']:,} bytes)", f"{found['known']:,} known"]
    if found["passed_over"]:
        parts.append(f"{found['passed_over']:,} other files passed over")
    if found["waiting"]:
        parts.append(f"{found['waiting']:,} wait for the next time")
    return ", ".join(parts)
