"""`pocketlens train`."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import click

from runtime.command_line import Command
from runtime.contract import RESIZES
from runtime.quiet import quiet_tensorflow

from .spec import ACTIVATIONS, ARCHITECTURES, OPTIMIZERS, TrainingSpec, default_epochs

_REQUIRES = ("tensorflow", "sklearn", "matplotlib")


def _units(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*", value):
        raise click.BadParameter(f"{value!r}, expected whole numbers with commas between, as in 128 or 4,4")
    return tuple(int(n) for n in value.split(","))


def _image_size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", value)
    if not match:
        raise click.BadParameter(f"{value!r}, expected one number or HEIGHTxWIDTH, as in 96 or 96x128")
    return int(match[1]), int(match[2] or match[1])


@click.command(
    cls=Command,
    requires=_REQUIRES,
    example="pocketlens train --dataset digits --out runs/digits\n"
    "pocketlens train --dataset photos/ --image-size 96 --out runs/photos",
)
@click.option("--dataset", required=True, metavar="NAME|DIR", help="digits, fashion-mnist, or a folder of images.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="RUN", help="The run folder to write.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where Fashion-MNIST's four files lie.")
@click.option("--arch", type=click.Choice(ARCHITECTURES), default="cnn", show_default=True, help="The architecture.")
@click.option("--units", default="128", show_default=True, callback=_units, help="Hidden layers of dense, as in 4,4.")
@click.option(
    "--activation",
    type=click.Choice(ACTIVATIONS),
    default="relu",
    show_default=True,
    help="Of the hidden layers of dense.",
)
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adamw", show_default=True, help="The optimizer.")
@click.option("--learning-rate", type=float, default=2e-3, show_default=True, help="At its highest.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training images. [default: by data set]")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Images a step.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of everything random.")
@click.option("--image-size", callback=_image_size, metavar="N|HxW", help="Input size. [default: by data set]")
@click.option("--colour", type=click.Choice(["grey", "rgb"]), help="Of the input. [default: by data set]")
@click.option("--resize", type=click.Choice(RESIZES), default="stretch", show_default=True, help="To the input size.")
@click.option("--force", is_flag=True, help="Replace the run that lies at --out.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def train(
    dataset: str,
    out: Path,
    data_dir: Path | None,
    arch: str,
    units: tuple[int, ...],
    activation: str,
    optimizer: str,
    learning_rate: float,
    epochs: int | None,
    batch_size: int,
    seed: int,
    image_size: tuple[int, int] | None,
    colour: str | None,
    resize: str,
    force: bool,
    as_json: bool,
) -> None:
    """Train a classifier and write a run folder, whole or not at all."""
    from .datasets import Geometry, load_dataset
    from .run import check_target, write_run

    started = time.perf_counter()
    spec = TrainingSpec(arch, units, activation, optimizer, learning_rate, epochs or 1, batch_size, seed)
    check_target(out, force)
    data = load_dataset(dataset, Geometry(image_size, colour, resize), data_dir)
    for line in data.left_out:
        click.echo(f"left out: {line}", err=True)
    if epochs is None:
        spec = replace(spec, epochs=default_epochs(len(data.targets), arch))
    # TensorFlow takes seconds to import: only once all that can be refused without it is settled.
    quiet_tensorflow()
    from .training import train as fit

    run = fit(spec, data)
    write_run(run, out)
    seconds = time.perf_counter() - started
    if as_json:
        click.echo(
            json.dumps(
                {
                    "run": str(out),
                    "test_accuracy": run.metrics.accuracy,
                    "best_epoch": run.best_epoch,
                    "parameters": run.model.count_params(),
                    "seconds": round(seconds, 1),
                }
            )
        )
        return
    click.echo(
        f"{out}: test accuracy {run.metrics.accuracy:.4f} ({len(run.splits.test)} images), "
        f"epoch {run.best_epoch} of {spec.epochs} kept, {run.model.count_params():,} parameters, {seconds:.0f} s"
    )
