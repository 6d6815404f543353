"""`pocketlens find-lr`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from runtime.cli.app import Command, with_options
from runtime.cli.click_options import output_file
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line

from .options import OPTION_NAMES, training_options
from .settings import TRAINING_REQUIRES, read_training_options


@click.command(
    "find-lr",
    cls=Command,
    quiet=True,
    requires=TRAINING_REQUIRES,
    option_names=OPTION_NAMES,
    example="pocketlens find-lr --dataset fashion-mnist\n"
    "pocketlens find-lr --dataset photos/ --image-size 96 --plot lr.png --json",
)
@training_options
@with_options(
    Option(
        ("--steps",),
        "Number of steps in which the rate rises from 1e-6 to 1.",
        type=int,
        default=300,
        minimum=50,
        maximum=10_000,
        show_default=True,
    ),
    group="Training",
)
@with_options(
    output_file("--plot", "Draw the loss over the rate as a PNG.", default="lr.png"),
    JSON_OPTION,
    group="Output",
)
def find_lr(steps: int, plot: Path, as_json: bool, **options: Any) -> None:
    """Train a few steps while the learning rate rises from 1e-6 to 1, and show where the loss falls.

    Use the settings of the training to come. `pocketlens train --learning-rate auto` does the same and takes a tenth of
    the minimum.
    """
    started = time.perf_counter()
    config, data, _ = read_training_options(options)
    from ..lr_finder import sweep_learning_rates
    from ..plots.history import save_sweep

    found = sweep_learning_rates(data, config, steps)
    marks = {"steepest": found.steepest, "a tenth of the minimum": found.suggestion, "minimum": found.minimum}
    save_sweep(plot, found.rates, found.losses, found.smoothed, marks)
    if as_json:
        print_json(found.as_dict() | {"plot": str(plot), "steps": len(found.rates)})
        return
    print_line(f"a tenth of the minimum  {found.suggestion:.2g}   (--learning-rate {found.suggestion:.2g})")
    print_line(f"steepest                {found.steepest:.2g}")
    print_line(f"minimum                 {found.minimum:.2g}   loss {found.smoothed.min():.3f}")
    print_line(f"{plot}: {len(found.rates)} steps, {time.perf_counter() - started:.0f} s")
