"""`pocketlens classify`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import FeaturesError, ImageError, InputError, UsageError, describe
from ..files import BYTES_NAME, STANDARD_INPUT, shown
from .model_options import (
    ANSWER_OPTIONS,
    EXTERNAL_OPTIONS,
    FEATURES,
    INTERPRETER_OPTIONS,
    MODEL,
    RECURSIVE,
    TRUSTED,
    build_classifier,
)
from .options import JSON_OPTION, DeclaredCommand, Option, in_group
from .output import print_csv, print_json, print_line

if TYPE_CHECKING:
    from ..csv_rows import Reading
    from ..input_spec import FeaturesInput
    from ..postprocessing import Prediction
    from .inputs import Input

#: A progress bar is drawn from this many images on, if a person watches and the answers go elsewhere.
_MANY = 20

_Answer: TypeAlias = "list[Prediction] | InputError"
_Printer: TypeAlias = "Callable[[str, _Answer], None]"


def classify(
    paths: tuple[str, ...],
    recursive: bool,
    from_file: str | None,
    features: tuple[tuple[float, ...], ...],
    as_json: bool,
    as_csv: bool,
    **model: Any,
) -> int:
    """Classify each image PATH and print its best labels.

    PATH is a file, a folder, a glob, or - for images on standard input, one or several JPEG, PNG or WebP behind each
    other. An image that cannot be read does not stop the rest: its error is printed on a line of its own, and the exit
    status is 1 at the end.

    If the model takes readings of sensors, PATH is a CSV file of rows, with or without a header, or - for rows on
    standard input, each answered as it arrives; or --features gives a row.

    The options under "External model" describe a model that was not made by Pocketlens.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other.")
    if features and (paths or from_file is not None):
        raise UsageError("--features gives the readings themselves; leave out PATH and --from-file.")
    if not paths and from_file is None and not features:
        raise UsageError("Missing argument 'PATH...': name an image, a folder, or - for standard input.")
    models = [path for path in paths if path.endswith(".tflite")]
    if models:
        raise UsageError(f"{shown(models[0])} is a model: use --model {shown(models[0])}")
    from .inputs import expand, read_list  # here, as help and usage errors need neither numpy nor Pillow

    names = (*paths, *(read_list(from_file) if from_file is not None else ()))
    loaded = build_classifier(**model)
    show = _printer(as_json, as_csv)
    if loaded.features is not None:
        return 0 if _print_rows(loaded.classify, loaded.features, names, features, show) else 1
    if features:
        raise FeaturesError("--features: the model takes images; name files or a folder")
    return 0 if _print_all(loaded.classify, list(expand(names, recursive=recursive)), show) else 1


COMMAND = DeclaredCommand(
    "classify",
    classify,
    (
        MODEL,
        *INTERPRETER_OPTIONS,
        TRUSTED,
        *ANSWER_OPTIONS,
        *EXTERNAL_OPTIONS,
        *in_group(
            "Input",
            RECURSIVE,
            Option(
                ("--from-file",),
                "Read more paths from LIST, one a line; - is standard input. [default: none]",
                metavar="LIST",
            ),
            FEATURES._replace(
                multiple=True, help="One row of readings, for a model that takes readings; repeatable. [default: none]"
            ),
        ),
        *in_group(
            "Output",
            JSON_OPTION,
            Option(
                ("--csv",),
                "Print CSV with a header, one line for each answer.",
                name="as_csv",
                type=bool,
                default=False,
            ),
        ),
    ),
    argument="paths",
    metavar="PATH...",
    example="pocketlens classify --model int8.tflite shoe.jpg\n"
    "pocketlens classify --json photos/ | jq .predictions[0].label\n"
    "rpicam-still -o - | pocketlens classify --min-score 0.6 -\n"
    "pocketlens classify --model plant.tflite --features 0.31,21.5",
)


def _print_all(classify_one: Callable[[Any], list[Prediction]], inputs: Sequence[Input], show: _Printer) -> bool:
    """Classify the images and print the answers in order; returns whether every image could be read."""

    def answers(item: Input) -> Iterable[tuple[str, _Answer]]:
        if item.is_stream:
            return _stream_answers(classify_one)
        try:
            return [(item.name, classify_one(item.source()))]
        except InputError as error:
            return [(item.name, error)]

    all_read = True
    with _progress(len(inputs)) as bar:
        for named_answers in _mapped(answers, inputs):
            for name, found in named_answers:
                show(name, found)
                all_read = all_read and not isinstance(found, InputError)
            if bar is not None:
                bar.update(1)
    return all_read


def _stream_answers(classify_one: Callable[[Any], list[Prediction]]) -> Iterator[tuple[str, _Answer]]:
    """The answers to the images on standard input, each before the next image is waited for."""
    from .inputs import read_standard_input

    for name, image in read_standard_input():
        if isinstance(image, ImageError):
            yield name, image
            continue
        try:
            yield name, classify_one(image)
        except ImageError as error:
            shown_name = name.replace(STANDARD_INPUT, "standard input", 1)
            yield name, ImageError(f"{shown_name}: {str(error).removeprefix(f'{BYTES_NAME}: ')}")


def _print_rows(
    classify_one: Callable[[Any], list[Prediction]],
    spec: FeaturesInput,
    names: Sequence[str],
    features: Sequence[tuple[float, ...]],
    show: _Printer,
) -> bool:
    """Classify rows of readings and print each answer before the next row is read; returns whether all were valid."""
    from ..csv_rows import Reading, read_rows

    rows: Iterable[Reading] = (Reading(",".join(f"{value:g}" for value in values), values) for values in features)
    all_read = True
    for row in rows if features else read_rows(names, spec):
        found: _Answer
        try:
            found = classify_one(row.vector(spec))
        except FeaturesError as error:
            found, all_read = error, False
        show(row.name, found)
    return all_read


def _mapped(
    answers: Callable[[Input], Iterable[tuple[str, _Answer]]], inputs: Sequence[Input]
) -> Iterator[Iterable[tuple[str, _Answer]]]:
    if len(inputs) == 1:  # starting threads would only delay one answer
        return map(answers, inputs)
    from ..thread_map import ordered_map
    from .fast_start import load_deferred

    load_deferred()
    return ordered_map(answers, inputs, os.cpu_count() or 1)


def _progress(length: int) -> AbstractContextManager[Any]:
    is_watched = length >= _MANY and sys.stderr is not None and sys.stderr.isatty() and not sys.stdout.isatty()
    if not is_watched:
        return nullcontext()
    from ..progress import progress
    from .app import report_progress

    report_progress()
    return progress(length, "classifying")


def _printer(as_json: bool, as_csv: bool) -> _Printer:
    if as_json:
        return _print_json
    if as_csv:
        print_csv("path", "label", "score", "index", "error")
        return _print_csv
    return _print_text


def _print_text(name: str, found: _Answer) -> None:
    if isinstance(found, InputError):
        print_line(f"error: {describe(found)}", error=True)
    else:
        print_line(f"{name}: {'  '.join(f'{p.label} {p.score:.3f}' for p in found)}")


def _print_json(name: str, found: _Answer) -> None:
    line: dict[str, Any] = {"path": name}
    if isinstance(found, InputError):
        line["error"] = describe(found)
    else:
        line["predictions"] = [p.as_dict() for p in found]
    print_json(line)


def _print_csv(name: str, found: _Answer) -> None:
    if isinstance(found, InputError):
        print_csv(name, "", "", "", describe(found))
    else:
        for p in found:
            print_csv(name, p.label, p.score, p.index, "")
