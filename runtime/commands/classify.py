"""`pocketlens classify`."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click

from runtime.classifier import DEFAULT_TOP, Classifier
from runtime.command_line import Command, describe, progress
from runtime.errors import ImageError, ModelFileError
from runtime.files import shown
from runtime.inputs import Input, expand, read_list
from runtime.interpreter import AUTO, LIBRARIES
from runtime.model_file import has_seal
from runtime.parallel import ordered_map
from runtime.prediction import Prediction, choose_labels
from runtime.quiet import held_stderr

MODEL_VARIABLE = "POCKETLENS_MODEL"
#: From this many images on a bar is drawn, where somebody watches and the answers go elsewhere.
_MANY = 20

Printer: TypeAlias = Callable[[str, "list[Prediction] | ImageError"], None]


@click.command(
    cls=Command,
    example="pocketlens classify --model int8.tflite shoe.jpg\n"
    "pocketlens classify --model int8.tflite --json photos/ | jq .predictions[0].label\n"
    "libcamera-still -o - | pocketlens classify --min-score 0.6 -",
)
@click.option(
    "--model",
    "model_path",
    metavar="FILE",
    help=f"The model; without it ${MODEL_VARIABLE}, else the newest of ours in this folder.",
)
@click.option("--top", type=click.IntRange(min=1), default=DEFAULT_TOP, show_default=True, help="Answers an image.")
@click.option("--min-score", type=click.FloatRange(0, 1), default=0.0, help='A lower score is no answer: "unknown".')
@click.option("--allow", multiple=True, metavar="LABEL", help="Answer with this label only; repeatable.")
@click.option("--deny", multiple=True, metavar="LABEL", help="Never answer with this label; repeatable.")
@click.option("--recursive", "-r", is_flag=True, help="Look into the folders of a folder.")
@click.option("--from-file", metavar="LIST", help="Read more paths from LIST, one a line; - for standard input.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of one invocation.")
@click.option(
    "--interpreter", type=click.Choice([AUTO, *LIBRARIES]), default=AUTO, show_default=True, help="The library to use."
)
@click.option("--delegate", metavar="LIBRARY", help="An accelerator's library, such as libedgetpu.so.1.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, an image each.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header, a line for each answer.")
@click.argument("paths", nargs=-1, metavar="PATH...")
def classify(
    model_path: str | None,
    top: int,
    min_score: float,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    recursive: bool,
    from_file: str | None,
    threads: int,
    interpreter: str,
    delegate: str | None,
    as_json: bool,
    as_csv: bool,
    paths: tuple[str, ...],
) -> None:
    """Classify each image PATH and print its best labels.

    PATH is a file, a folder, a glob, or - for an image on standard input. An image that cannot be read does not
    stop the rest: its error stands on its own line, and the exit status is 1 at the end.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    if not paths and from_file is None:
        raise click.UsageError("Missing argument 'PATH...': name an image, a folder, or - for standard input.")
    inputs = list(expand((*paths, *(read_list(from_file) if from_file is not None else ())), recursive=recursive))
    path = model_path or _default_model()
    if not model_path:
        click.echo(f"model: {shown(path)}", err=True)
    with held_stderr():  # the interpreter announces its delegates
        classifier = Classifier(path, num_threads=threads, interpreter=interpreter, delegate=delegate)
    try:
        choose_labels(classifier.contract.labels, allow or None, deny)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    answer = partial(classifier.classify, top=top, min_score=min_score, allow=allow or None, deny=deny)
    if not _print_all(answer, inputs, _printer(as_json, as_csv)):
        click.get_current_context().exit(1)


def _print_all(classify_one: Callable[[Any], list[Prediction]], inputs: Sequence[Input], show: Printer) -> bool:
    """Classify and print, in order; whether every image could be read."""

    def answer(item: Input) -> list[Prediction] | ImageError:
        try:
            return classify_one(item.source())
        except ImageError as error:
            return error

    # Threads are for many: one image is answered sooner without.
    workers = os.cpu_count() or 1
    answers = ordered_map(answer, inputs, workers) if len(inputs) > 1 else map(answer, inputs)
    watched = len(inputs) >= _MANY and sys.stderr.isatty() and not sys.stdout.isatty()
    good = True
    with progress(len(inputs), "classifying") if watched else nullcontext() as bar:
        for item, found in zip(inputs, answers, strict=True):
            show(item.name, found)
            good = good and not isinstance(found, ImageError)
            if bar is not None:
                bar.update(1)
    return good


def _printer(as_json: bool, as_csv: bool) -> Printer:
    if as_json:
        return _print_json
    if as_csv:
        _echo_csv("path", "label", "score", "index", "error")
        return _print_csv
    return _print_text


def _print_text(name: str, found: list[Prediction] | ImageError) -> None:
    if isinstance(found, ImageError):
        click.echo(f"error: {describe(found)}", err=True)
    else:
        click.echo(f"{shown(name)}: {'  '.join(f'{p.label} {p.score:.3f}' for p in found)}")


def _print_json(name: str, found: list[Prediction] | ImageError) -> None:
    line: dict[str, Any] = {"path": name}
    if isinstance(found, ImageError):
        line["error"] = describe(found)
    else:
        line["predictions"] = [p.as_dict() for p in found]
    # Escaped to ASCII: a file name need not be text. Flushed by echo, so that a reader sees each line at once.
    click.echo(json.dumps(line))


def _print_csv(name: str, found: list[Prediction] | ImageError) -> None:
    if isinstance(found, ImageError):
        _echo_csv(shown(name), "", "", "", describe(found))
    else:
        for p in found:
            _echo_csv(shown(name), p.label, p.score, p.index, "")


def _echo_csv(*cells: object) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    click.echo(buffer.getvalue(), nl=False)


def _default_model() -> str:
    """The model that is meant where none is named.

    Raises:
        ModelFileError: there is none.
    """
    named = os.environ.get(MODEL_VARIABLE)
    if named:
        return named
    models = [path for path in Path().glob("*.tflite") if path.is_file()]
    for path in sorted(models, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        if has_seal(path):
            return str(path)
    raise ModelFileError(
        f"no model: name one with --model or ${MODEL_VARIABLE}; no *.tflite of Pocketlens lies in this folder"
    )
