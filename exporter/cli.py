"""`pocketlens export`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from runtime.command_line import Command
from runtime.quiet import quiet_tensorflow

from .recipes import IO_TYPES, Recipe

STATUS_GATE_FAILED = 3


@click.command(
    cls=Command,
    requires=("tensorflow",),
    example="pocketlens export runs/digits --out models/digits --max-drop 0.01",
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Accuracy that int8 may lose, 0 to 1: 0.01 is one percentage point.",
)
@click.option("--io", type=click.Choice(IO_TYPES), default="uint8", show_default=True, help="Tensors of int8.tflite.")
@click.option(
    "--calibration-samples",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Training images that the quantizer sees, the classes evenly.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of the choice of these images. [default: the run's]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def export(
    run: Path, out: Path, max_drop: float, io: str, calibration_samples: int, seed: int | None, as_json: bool
) -> None:
    """Convert RUN to float32.tflite and int8.tflite, and check what quantization cost.

    Both are scored on the whole test split through the classifier and the interpreter that a device uses. Where
    int8 loses more than --max-drop, nothing is published: the exit status is 3, and what was made stays as
    *.rejected.tflite beside report.json.
    """
    from .report import table
    from .run import read_run

    found = read_run(run)
    # TensorFlow takes seconds to import: only once all that can be refused without it is settled.
    quiet_tensorflow()
    from .export import export as export_run

    exported = export_run(
        found,
        out,
        (Recipe.float32(), Recipe.int8(io)),
        max_drop=max_drop,
        calibration_samples=calibration_samples,
        seed=seed,
        say=lambda line: click.echo(line, err=True),
    )
    if as_json:
        click.echo(json.dumps(exported.report))
    else:
        for line in table(exported.report):
            click.echo(line)
        click.echo(f"{'published in' if exported.passed else 'rejected, left in'} {out}, with report.json")
    if not exported.passed:
        worst = max(model["drop"] for model in exported.report["models"])
        click.echo(
            f"gate failed: int8 loses {100 * worst:.2f} points, --max-drop allows {100 * max_drop:.2f}", err=True
        )
        click.get_current_context().exit(STATUS_GATE_FAILED)
