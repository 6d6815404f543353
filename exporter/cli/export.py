"""`pocketlens export`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.app import Command
from runtime.native_output import quiet_tensorflow
from trainer.errors import RunError

from ..gates import OF_ANSWERS, Limits
from ..operator_support import DEFAULT_TARGET, TARGETS
from ..recipe import IO_TYPES, MODES, Recipe
from .model_options import model_options, parse

if TYPE_CHECKING:
    from trainer.data.run_folder import RunFolder

STATUS_GATE_FAILED = 3
_SHARE = click.FloatRange(0, 1)


@click.command(
    cls=Command,
    requires=("tensorflow", "sklearn", "matplotlib", "jinja2"),
    example="pocketlens export runs/digits --out models/digits --max-drop 0.01\n"
    "pocketlens export runs/digits --out models/digits --mode int8 --mode dynamic --max-class-drop 0.05\n"
    "pocketlens export own.keras --labels labels.txt --calibration train/ --test test/ --mean 0 --std 255 --out models",
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN|MODEL")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@click.option(
    "--mode",
    "modes",
    type=click.Choice(MODES),
    multiple=True,
    default=("float32", "int8"),
    show_default=True,
    help="What to make, repeatable; float32 is always made, to compare with.",
)
@click.option("--io", type=click.Choice(IO_TYPES), default="uint8", show_default=True, help="Tensors of the int8 file.")
@click.option(
    "--max-drop",
    type=_SHARE,
    default=0.01,
    show_default=True,
    help="Gate: accuracy that a file may lose against float32, 0 to 1: 0.01 is one percentage point. Of binary ROC AUC "
    "too; of several labels mean average precision, and F1.",
)
@click.option("--max-class-drop", type=_SHARE, help="Gate: recall that any one class may lose, 0 to 1.")
@click.option("--min-agreement", type=_SHARE, help="Gate: share of test images answered as by float32, 0 to 1.")
@click.option("--max-bytes", type=click.IntRange(min=1), help="Gate: size of a file.")
@click.option("--max-latency-ms", type=click.FloatRange(0, min_open=True), help="Gate: median of a call, here.")
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default=DEFAULT_TARGET,
    show_default=True,
    help="The interpreter of the device: an operator that it lacks is an error.",
)
@click.option("--edgetpu", is_flag=True, help="Also tell which operators a Coral would run.")
@click.option("--rgb-input", is_flag=True, help="Let a grey model take RGB: it converts the picture itself.")
@click.option("--c-array", is_flag=True, help="Also write the int8 file (or first --mode) as model_data.h and .cc.")
@click.option(
    "--no-selftest", is_flag=True, help="Carry no training images in the files, and so nothing for `selftest`."
)
@click.option(
    "--calibration-samples",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Training images that the quantizer sees, the classes evenly.",
)
@click.option(
    "--calibration-seed",
    "--seed",
    "calibration_seed",
    type=click.IntRange(0, 2**31 - 1),
    help="Of the choice of these images. [default: the run's]",
)
@click.option(
    "--false-accept-rate",
    type=_SHARE,
    metavar="R",
    help='Of the wrong answers, at most this share is given; a less sure one is "unknown". [default: always answer]',
)
@click.option("--repair", is_flag=True, help="Where int8 fails a gate, try the known ways to mend it.")
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print the report and the timings as one JSON object.")
def export(
    run: Path,
    out: Path,
    modes: tuple[str, ...],
    io: str,
    max_drop: float,
    max_class_drop: float | None,
    min_agreement: float | None,
    max_bytes: int | None,
    max_latency_ms: float | None,
    target: str,
    edgetpu: bool,
    rgb_input: bool,
    c_array: bool,
    no_selftest: bool,
    calibration_samples: int,
    calibration_seed: int | None,
    false_accept_rate: float | None,
    repair: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert RUN, or a MODEL of your own, to TensorFlow Lite files, and check what that cost.

    RUN is a folder that `pocketlens train` wrote. MODEL is a .keras file or a SavedModel folder; it needs --labels,
    --calibration, --test, --mean and --std.

    All are scored on the whole test split through the classifier and the interpreter that a device uses. Where one
    fails a gate, nothing is published: the exit status is 3, and what was made stays as *.rejected.tflite beside
    report.html and report.json.
    """
    with _material(run, options) as found:
        from ..export import export as export_run

        exported = export_run(
            found,
            out,
            [Recipe.of(mode, io) for mode in modes],
            limits=Limits(max_drop, max_class_drop, min_agreement, max_bytes, max_latency_ms),
            target=target,
            edgetpu=edgetpu,
            rgb_input=rgb_input,
            c_array=c_array,
            selftest=not no_selftest,
            calibration_samples=calibration_samples,
            calibration_seed=calibration_seed,
            false_accept_rate=false_accept_rate,
            repair=repair,
            say=lambda line: click.echo(line, err=True),
        )
    _show(exported.report, exported.timings, out, as_json)
    for line in exported.failures:
        click.echo(f"gate failed: {line}", err=True)
    if not repair and _is_mendable(exported.report):
        click.echo("with --repair, ways to mend int8 are tried", err=True)
    if not exported.passed:
        click.get_current_context().exit(STATUS_GATE_FAILED)


def _is_mendable(report: dict[str, Any]) -> bool:
    """Whether int8 answers worse than a gate allows."""
    gates = [gate for model in report["models"] if model["mode"] == "int8" for gate in model["gates"]]
    return any(gate["name"] in OF_ANSWERS and not gate["passed"] for gate in gates)


@contextmanager
def _material(path: Path, options: dict[str, Any]) -> Iterator[RunFolder]:
    """What is to be exported. TensorFlow takes seconds to import: only once all else that can be refused is."""
    from trainer.data.run_folder import read_run

    given = parse(path, options)
    if given is None and not path.is_file() and not (path / "saved_model.pb").is_file():
        found = read_run(path)
        quiet_tensorflow()
        yield found
        return
    if given is None:
        raise click.UsageError(f"{path} is a model: it needs --labels, --calibration, --test, --mean and --std.")
    if not path.exists():
        raise RunError(f"{path}: no such model; name a .keras file or a SavedModel folder")
    quiet_tensorflow()
    from ..external_model import Folders, gather

    with gather(path, Folders(given.calibration, given.test, given.val), given.contract, given.words) as made:
        yield made


def _show(report: dict[str, Any], timings: dict[str, Any], out: Path, as_json: bool) -> None:
    from ..report.report import summary_table

    if as_json:
        click.echo(json.dumps({**report, "timings": timings}))
        return
    for line in summary_table(report, timings):
        click.echo(line)
    for line in report["warnings"]:
        click.echo(f"warning: {line}", err=True)
    click.echo(f"{'published in' if report['passed'] else 'rejected, left in'} {out}, with report.html")
