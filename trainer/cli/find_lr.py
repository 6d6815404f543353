"""`pocketlens find-lr`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from runtime.cli.app import Command

from .training_options import OPTION_NAMES, REQUIRES, settle, training_options


@click.command(
    "find-lr",
    cls=Command,
    requires=REQUIRES,
    option_names=OPTION_NAMES,
    example="pocketlens find-lr --dataset fashion-mnist\n"
    "pocketlens find-lr --dataset photos/ --image-size 96 --size base --plot lr.png --json",
)
@training_options
@click.option("--steps", type=click.IntRange(50, 10_000), default=300, show_default=True, help="From 1e-6 to 1.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    default="lr.png",
    show_default=True,
    metavar="FILE",
    help="Draw the loss over the rate as a PNG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def find_lr(steps: int, plot: Path, as_json: bool, **options: Any) -> None:
    """Train a little while the learning rate rises from 1e-6 to 1, and tell where the loss falls.

    Give it the settings that `pocketlens train` is to have. Its `--learning-rate auto` does the same and takes a
    tenth of the minimum.
    """
    started = time.perf_counter()
    config, data, _ = settle(options)
    from ..lr_finder import sweep_learning_rates
    from ..plots.figure import save_sweep

    found = sweep_learning_rates(data, config, steps)
    marks = {"steepest": found.steepest, "a tenth of the minimum": found.suggestion, "minimum": found.minimum}
    save_sweep(plot, found.rates, found.losses, found.smoothed, marks)
    if as_json:
        click.echo(json.dumps(found.as_dict() | {"plot": str(plot), "steps": len(found.rates)}))
        return
    click.echo(
        f"a tenth of the minimum  {found.suggestion:.2g}   (--learning-rate {found.suggestion:.2g})\n"
        f"steepest                {found.steepest:.2g}\n"
        f"minimum                 {found.minimum:.2g}   loss {found.smoothed.min():.3f}\n"
        f"{plot}: {len(found.rates)} steps, {time.perf_counter() - started:.0f} s"
    )
