"""The command `pocketlens`: the table of its subcommands."""

from __future__ import annotations

import warnings

import click

from ._version import __version__
from .command_line import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "classify": ("runtime.commands.classify:classify", "Classify images with an exported model."),
        "watch": ("runtime.commands.watch:watch", "Classify each image that arrives in a folder, once."),
        "info": ("runtime.commands.info:info", "Show what is inside an exported model."),
        "bench": ("runtime.commands.bench:bench", "Measure how fast a model answers on this machine."),
        "doctor": ("runtime.commands.doctor:doctor", "Tell what is wrong with this machine, and the cure."),
        "train": ("trainer.cli:train", "Train a classifier (workstation)."),
        "export": ("exporter.cli:export", "Convert, check and publish a trained run (workstation)."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="pocketlens")
def main() -> None:
    """From a folder of images to a checked int8 TensorFlow Lite model, and to answers on a device."""
    # What Pillow warns of (large images, odd tags) is either refused by the limits of `images` or harmless.
    warnings.filterwarnings("ignore", module="PIL")


if __name__ == "__main__":
    main()
