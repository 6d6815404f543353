"""`pocketlens teach`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import ImageError, UsageError
from ..files import shown, write_whole
from ..images import ImageSource
from ..lesson import Lesson, forget, teach
from ..native_output import held_stderr
from .app import Command, with_options
from .click_options import complete_files, option_in
from .inputs import expand, read_standard_input
from .model_options import INTERPRETER_OPTIONS, MODEL, RECURSIVE, TRUSTED, default_model
from .options import JSON_OPTION
from .output import print_json, print_line


@click.command(
    "teach",
    cls=Command,
    option_names={"embedding": "--embedding"},
    example="pocketlens teach mug mug1.jpg mug2.jpg mug3.jpg mug4.jpg mug5.jpg \\\n"
    "      --model int8.tflite --out mugs.tflite\n"
    "pocketlens teach mug more/ --add --model mugs.tflite --out mugs.tflite\n"
    "pocketlens teach --forget mug --model mugs.tflite --out int8.tflite",
)
@click.argument("words", nargs=-1, metavar="LABEL PICTURES...", shell_complete=complete_files)
@option_in("Output")("--out", required=True, metavar="FILE", help="The new model file; it may be the same as --model.")
@with_options(MODEL, *INTERPRETER_OPTIONS, TRUSTED, RECURSIVE)
@option_in("Input")("--add", is_flag=True, help="Add the pictures to a class that was taught before.")
@option_in("Input")("--forget", "forgotten", metavar="LABEL", help="Forget a taught class instead. [default: none]")
@with_options(JSON_OPTION, group="Output")
def teach_command(
    words: tuple[str, ...],
    out: str,
    model_path: str | None,
    threads: int,
    interpreter: str,
    delegate: str | None,
    trusted: bool,
    recursive: bool,
    add: bool,
    forgotten: str | None,
    as_json: bool,
) -> None:
    """Teach a class more to a model, from five pictures of it or more.

    A PICTURE is a file, a folder, a glob, or - for images on standard input. The model must have been exported with
    --embedding. FILE is a model like any other: classify, watch, bench and scripts use it, and more classes can be
    taught to it. The network and its own classes stay as they are.

    Leave-one-out says how sure the class may be: how many of its pictures are recognized from the others alone.
    """
    path = model_path or default_model()
    if forgotten is not None:
        if words or add:
            raise UsageError("--forget names the class itself; leave out LABEL, PICTURES and --add.")
        content = forget(path, forgotten)
        write_whole(Path(out), content)
        result = {"model": path, "out": out, "forgotten": forgotten, "bytes": len(content)}
        print_json(result) if as_json else print_line(f"{shown(out)}: without {shown(forgotten)}")
        return
    if len(words) < 2:
        raise UsageError("Missing argument 'LABEL PICTURES...': name the class, and pictures of it or a folder.")
    label, *names = words
    with held_stderr():  # the interpreter announces its delegates
        lesson = teach(
            path,
            label,
            _pictures(names, recursive=recursive),
            add=add,
            num_threads=threads,
            interpreter=interpreter,
            delegate=delegate,
            trusted=trusted,
        )
    write_whole(Path(out), lesson.content)
    if as_json:
        print_json(_as_dict(lesson, path, out))
        return
    for line in _lines(lesson, out):
        print_line(line)


def _pictures(names: list[str], *, recursive: bool) -> Iterator[tuple[str, ImageSource]]:
    for item in expand(names, recursive=recursive):
        if not item.is_stream:
            yield item.name, item.source()
            continue
        for name, image in read_standard_input():
            if isinstance(image, ImageError):
                raise image
            yield name, image


def _as_dict(lesson: Lesson, path: str, out: str) -> dict[str, Any]:
    return {
        "model": path,
        "out": out,
        "label": lesson.label,
        "pictures": lesson.pictures,
        "copies": list(lesson.copies),
        "recognized": lesson.recognized,
        "advice": lesson.advice,
        "taught": [dict(zip(("label", "pictures", "recognized"), one, strict=True)) for one in lesson.taught],
        "bytes": len(lesson.content),
    }


def _lines(lesson: Lesson, out: str) -> Iterator[str]:
    for name in lesson.copies:
        yield f"{shown(name)}: repeats another picture, not counted"
    advice = f"; {lesson.advice}" if lesson.advice else ""
    count = lesson.pictures
    yield f"{shown(lesson.label)}: {count} pictures: leave-one-out {lesson.recognized} of {count}{advice}"
    labels = ", ".join(shown(label) for label, _, _ in lesson.taught)
    yield f"written to {shown(out)}, {len(lesson.content):,} bytes; taught: {labels}"
