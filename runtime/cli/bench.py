"""`pocketlens bench`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from ..benchmark import combinations, example_picture, measure, recommend
from ..contract import Contract
from ..errors import ImageError, UsageError
from ..external.adopt import ExternalOptions, adopting
from ..features import load_vector
from ..files import read_regular_file
from ..image_limits import MAX_IMAGE_BYTES
from ..images import load_pixels
from ..model_file import read_model
from ..progress import progress
from .app import Command, with_options
from .external_options import EXTERNAL_OPTIONS, given
from .model_options import vector
from .options import Option

_COLUMNS = ("interpreter", "threads", "load", "first", "prepare", "invoke", "call", "p95", "p99", "images/s", "MB")


@click.command(
    cls=Command, example="pocketlens bench int8.tflite\npocketlens bench --json --image photo.jpg int8.tflite"
)
@click.option("--image", metavar="FILE", help="The picture to classify. [default: a JPEG of 640x480]")
@with_options(Option(("--features",), "The readings to classify. [default: the means]", type=vector, metavar="N,N"))
@click.option("--rounds", type=click.IntRange(1, 10**6), default=200, show_default=True, help="Calls of each kind.")
@click.option(
    "--max-threads",
    type=click.IntRange(1, 64),
    default=os.cpu_count() or 1,
    help="Measure 1, 2, 4... threads up to this. [default: one a processor]",
)
@with_options(*EXTERNAL_OPTIONS)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("model", metavar="MODEL")
def bench(
    image: str | None,
    features: tuple[float, ...] | None,
    rounds: int,
    max_threads: int,
    as_json: bool,
    model: str,
    **known: Any,
) -> None:
    """Measure how fast MODEL answers here, with each interpreter installed and 1, 2, 4... threads.

    All times are milliseconds; call is one whole classification, median. They hold for this machine only.
    --labels to --task are for a model of someone else's.
    """
    known = given(known)
    # Refused here, in one line, rather than once for every combination.
    sample = _sample(read_model(model, adopting(ExternalOptions(**known))).contract, image, features)
    rows = []
    todo = list(combinations(max_threads))
    with progress(len(todo), "measuring") as bar:
        for library, threads in todo:
            rows.append(measure(Path(model), sample, library, threads, rounds, known))
            bar.update(1)
    if as_json:
        click.echo(json.dumps({"model": model, "rounds": rounds, "results": rows, "choose": recommend(rows)}))
    else:
        _print_table(rows)
    if all("error" in row for row in rows):
        click.get_current_context().exit(1)


def _sample(contract: Contract, image: str | None, features: tuple[float, ...] | None) -> bytes:
    """What to classify, as `measure` takes it."""
    spec = contract.input
    if spec.kind == "features":
        if image is not None:
            raise UsageError(f"--image is for models that take images, and this one takes {spec.describe()}.")
        return json.dumps(load_vector(spec.mean if features is None else features, spec).tolist()).encode()
    if features is not None:
        raise UsageError("--features is for models that take features, and this one takes images.")
    picture = example_picture() if image is None else read_regular_file(image, MAX_IMAGE_BYTES, ImageError)[0]
    load_pixels(picture, spec)
    return picture


def _print_table(rows: list[dict[str, Any]]) -> None:
    lines = [list(_COLUMNS)] + [_cells(row) for row in rows if "error" not in row]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    for row in rows:
        if "error" in row:
            click.echo(f"{row['interpreter']}, {row['threads']} threads: {row['error']}")
    click.echo(recommend(rows))


def _cells(row: dict[str, Any]) -> list[str]:
    call = row["call_ms"]
    times = (row["load_ms"], row["first_call_ms"], row["preprocessing_ms"]["median"], row["invoke_ms"]["median"])
    quantiles = (call["median"], call["p95"], call["p99"])
    return [
        row["interpreter"],
        str(row["threads"]),
        *(f"{value:.3f}" for value in (*times, *quantiles)),
        f"{row['images_per_second']:.0f}",
        "" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:.0f}",
    ]
