"""`pocketlens bench`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..benchmark import best_combination, combinations, example_picture, measure
from ..contract import Contract
from ..errors import ImageError, UsageError
from ..external.adopt import ExternalOptions, adopting
from ..features import load_vector
from ..files import read_regular_file
from ..image_limits import MAX_IMAGE_BYTES
from ..images import load_pixels
from ..model_file import is_sealed, read_model
from ..progress import progress
from ..sealed_models import check_sealed
from .app import Command, with_options
from .click_options import complete_files, option_in
from .model_options import EXTERNAL_OPTIONS, FEATURES, TRUSTED, without_none
from .options import JSON_OPTION
from .output import print_json, print_line, print_wrapped
from .tables import columns

_COLUMNS = ("interpreter", "threads", "load", "first", "prepare", "invoke", "call", "p95", "p99", "images/s", "MB")


@click.command(
    cls=Command,
    quiet=True,
    example="pocketlens bench int8.tflite\npocketlens bench --json --image photo.jpg int8.tflite\n"
    "pocketlens bench --profile pi-zero-2.json",
)
@option_in("Measurement")("--image", metavar="FILE", help="The picture to classify.  [default: a JPEG of 640x480]")
@with_options(FEATURES, group="Measurement")
@option_in("Measurement")(
    "--rounds", type=click.IntRange(1, 10**6), default=200, show_default=True, help="Number of measured calls."
)
@option_in("Measurement")(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Instead of a MODEL, measure this device: the operators of our networks in small models, in int8 and float, "
    "for under five minutes. A workstation predicts from FILE how fast a model would be here; see `export --budget`.  "
    "[default: measure MODEL]",
)
@option_in("Measurement")(
    "--device", metavar="NAME", help="The name of this device in FILE.  [default: the model of its board or processor]"
)
@option_in("Measurement")(
    "--max-threads",
    type=click.IntRange(1, 64),
    default=os.cpu_count() or 1,
    help="Measure with 1, 2, 4... threads up to this number.  [default: one per processor]",
)
@with_options(*EXTERNAL_OPTIONS, TRUSTED, JSON_OPTION)
@click.argument("model", required=False, metavar="MODEL", shell_complete=complete_files)
def bench(
    image: str | None,
    features: tuple[float, ...] | None,
    rounds: int,
    profile: Path | None,
    device: str | None,
    max_threads: int,
    trusted: bool,
    as_json: bool,
    model: str | None,
    **external: Any,
) -> None:
    """Measure how fast MODEL answers here, with each installed interpreter and 1, 2, 4... threads.

    All times are milliseconds and hold for this machine only; call is the median of one whole classification. A model
    that takes readings is measured with its means, or with --features.

    With --profile FILE no MODEL is measured, but the device itself.

    The options under "External model" describe a model that was not made by Pocketlens.
    """
    description = without_none(external)
    if profile is not None:
        _refuse_beside_profile(model, {"image": image, "features": features, **description})
        _measure_device(profile, device or "", max_threads, as_json)
        return
    if device is not None:
        raise UsageError("--device is the name in a profile; add --profile FILE, or leave it out.")
    if model is None:
        raise UsageError("Missing argument 'MODEL': name a .tflite file, or --profile FILE to measure this device.")
    # An error is printed here, once, and not for every combination.
    file = read_model(model, adopting(ExternalOptions(**description), trusted=trusted))
    if is_sealed(file.content) and not trusted:
        check_sealed(file)
    sample = _sample(file.contract, image, features)
    rows = []
    todo = list(combinations(max_threads))
    with progress(len(todo), "measuring") as bar:
        for library, threads in todo:
            rows.append(measure(Path(model), sample, library, threads, rounds, description, trusted=trusted))
            bar.update(1)
    if as_json:
        print_json({"model": model, "rounds": rounds, "results": rows, "choose": recommend(rows)})
    else:
        _print_table(rows)
    if all("error" in row for row in rows):
        click.get_current_context().exit(1)


def _refuse_beside_profile(model: str | None, others: Mapping[str, object]) -> None:
    """Refuse what says how a model is measured; `others` holds the options' values by parameter."""
    if model is not None:
        raise UsageError(f"--profile measures models of its own; leave {model} out, or --profile.")
    given = next((name for name, value in others.items() if value is not None), None)
    if given is not None:
        raise UsageError(f"--profile measures models of its own; leave --{given} out.")


def _measure_device(path: Path, device: str, max_threads: int, as_json: bool) -> None:
    """Measure this device, write its profile, and print how much was measured."""
    from ..device_profile.measurement import measure_device

    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first.")  # before minutes are spent
    profile = measure_device(max_threads, device)
    profile.write(path)
    rows = [
        {
            "interpreter": setting.interpreter,
            "version": setting.version,
            "threads": setting.threads,
            "probes": sum(time is not None for time in setting.times_ms),
            "refused": sum(time is None for time in setting.times_ms),
        }
        for setting in profile.settings
    ]
    if as_json:
        print_json({"profile": str(path), "device": profile.device, "machine": profile.machine, "settings": rows})
        return
    names = ("interpreter", "version", "threads", "probes", "refused")
    for line in columns([names, *([str(row[name]) for name in names] for row in rows)], left=2):
        print_line(line)
    print_wrapped(
        f"{path} is the profile of {profile.device}. Copy it to your workstation: `pocketlens export --budget "
        f"{path.name}` predicts there how fast a model would be here."
    )


def _sample(contract: Contract, image: str | None, features: tuple[float, ...] | None) -> bytes:
    """The image or the readings to classify, as `measure` takes them."""
    spec = contract.input
    if spec.kind == "features":
        if image is not None:
            raise UsageError(f"--image is for models that take images, and this one takes {spec.describe()}.")
        return json.dumps(load_vector(spec.mean if features is None else features, spec).tolist()).encode()
    if features is not None:
        raise UsageError("--features is for models that take features, and this one takes images.")
    if image is not None:
        load_pixels(image, spec)  # an error of this has the file's name
    picture = example_picture() if image is None else read_regular_file(image, MAX_IMAGE_BYTES, ImageError)[0]
    load_pixels(picture, spec)
    return picture


def recommend(rows: list[dict[str, Any]]) -> str:
    """Recommend an interpreter and a number of threads, in one line."""
    best = best_combination(rows)
    if best is None:
        return "no interpreter runs this model here; see `pocketlens doctor`"
    name, threads = best["interpreter"], best["threads"]
    return f"choose --interpreter {name} --threads {threads}: {best['call_ms']['median']:.3f} ms a call on this machine"


def _print_table(rows: list[dict[str, Any]]) -> None:
    for line in columns([_COLUMNS, *(_cells(row) for row in rows if "error" not in row)], left=2):
        print_line(line)
    for row in rows:
        if "error" in row:
            print_wrapped(f"{row['interpreter']}, {row['threads']} threads: {row['error']}")
    print_wrapped(recommend(rows))


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
