"""`pocketlens explain`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ImageError, UsageError
from ..files import STANDARD_INPUT, shown, write_whole
from ..progress import progress
from .app import Command, with_options
from .click_options import complete_files, option_in, output_file
from .model_options import EXTERNAL_OPTIONS, INTERPRETER_OPTIONS, TRUSTED, open_classifier
from .options import JSON_OPTION, in_group
from .output import print_json, print_line, print_wrapped

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..occlusion import Explanation


@click.command(
    "explain",
    cls=Command,
    quiet=True,
    example="pocketlens explain int8.tflite seven.png --out why.png\n"
    "pocketlens explain int8.tflite seven.png --label 1 --json",
)
@option_in("Answer")(
    "--label",
    "of_label",
    metavar="LABEL",
    help="Explain this label's score.  [default: the label with the highest score]",
)
@with_options(
    *INTERPRETER_OPTIONS,
    *EXTERNAL_OPTIONS,
    TRUSTED,
    *in_group("Output", output_file("--out", "Write the picture and its map as a PNG."), JSON_OPTION),
)
@click.argument("model", metavar="MODEL", shell_complete=complete_files)
@click.argument("picture", metavar="PICTURE", shell_complete=complete_files)
def explain_command(
    of_label: str | None,
    out: Path | None,
    threads: int,
    interpreter: str,
    delegate: str | None,
    as_json: bool,
    model: str,
    picture: str,
    **external: Any,
) -> None:
    """Show which parts of PICTURE the answer of MODEL comes from.

    One part of the picture after the other is blurred, and the score is read again: where it falls, the part supports
    the answer. The model file itself is run, some 300 times, so the map is true of what a device answers. PICTURE is a
    file, or - for an image on standard input.

    --json gives the grid of the drops, and the box of the part that matters most, in pixels of the model's input.

    The options under "External model" describe a model that was not made by Pocketlens.
    """
    _check_out(out, picture)
    classifier = open_classifier(model, threads, interpreter, delegate, **external)
    found = _explain(classifier, picture, of_label)
    written = "" if out is None else _write(out, found, f"{_base(picture)}, as {_base(model)} takes it")
    if as_json:
        print_json({"model": model, "picture": picture, **found.as_dict(), "out": out and str(out)})
        return
    from ..heat_map import summary

    print_wrapped(f"{picture}: {found.label} {found.score:.3f}")
    for line in summary(found):
        print_wrapped(line)
    if written:
        print_line(written)


def _explain(classifier: Classifier, picture: str, label: str | None) -> Explanation:
    from ..occlusion import count_calls, explain  # here, as help and usage errors need neither numpy nor Pillow
    from ..postprocessing import choose_labels

    try:
        choose_labels(classifier.contract.labels, None if label is None else (label,), ())
    except ValueError as error:
        raise UsageError(str(error)) from error
    shape = classifier.contract.input.shape
    if len(shape) != 3:
        return explain(classifier, picture, label)  # it refuses features
    with progress(count_calls(shape), "hiding parts") as bar:
        return explain(classifier, _image(picture), label, advance=bar.update)


def _image(picture: str) -> str | bytes:
    """The picture as `explain` takes it; the first image of standard input."""
    from .inputs import expand, read_standard_input

    if Path(picture).is_dir():
        raise ImageError(f"{shown(picture)}: a folder; name one picture")
    if picture == STANDARD_INPUT:
        _, image = next(iter(read_standard_input()))
        if isinstance(image, ImageError):
            raise image
        return image
    item = next(expand([picture]))
    item.source()
    return item.name


def _check_out(out: Path | None, picture: str) -> None:
    if out is not None and out.exists() and os.path.exists(picture) and out.samefile(picture):  # noqa: PTH110 - any name
        raise UsageError(f"--out is the picture itself, {shown(picture)}; name another file.")


def _base(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else Path(path).name


def _write(out: Path, found: Explanation, title: str) -> str:
    from ..heat_map import explanation_png

    write_whole(out, explanation_png(found, title))
    return f"written to {shown(out)}"
