"""The command `pocketlens`: the table of its subcommands."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

#: Name to ("module:attribute", one line of help).
COMMANDS = {
    "classify": ("runtime.commands.classify:COMMAND", "Classify images with an exported model."),
    "watch": ("runtime.commands.watch:watch", "Classify each image that arrives in a folder, once."),
    "info": ("runtime.commands.info:info", "Show what is inside an exported model."),
    "bench": ("runtime.commands.bench:bench", "Measure how fast a model answers on this machine."),
    "doctor": ("runtime.commands.doctor:doctor", "Tell what is wrong with this machine, and the cure."),
    "selftest": ("runtime.commands.selftest:selftest", "Tell whether a model answers here as on the workstation."),
    "data": ("trainer.commands.data:data", "Look at a data set (workstation)."),
    "find-lr": ("trainer.commands.find_lr:find_lr", "Look for a learning rate (workstation)."),
    "train": ("trainer.commands.train:train", "Train a classifier (workstation)."),
    "evaluate": ("trainer.commands.evaluate:evaluate", "Measure a run or a model on a data set (workstation)."),
    "inspect": ("trainer.commands.inspect:inspect", "Show the layers and weights of a trained run (workstation)."),
    "compare": ("trainer.commands.compare:compare", "Compare trained runs (workstation)."),
    "export": ("exporter.cli:export", "Convert, check and publish a trained run (workstation)."),
}

#: The one command that is started for every picture; the others can wait for click.
_QUICK = "classify"


def main() -> NoReturn:
    """From a folder of images to a checked int8 TensorFlow Lite model, and to answers on a device."""
    if sys.argv[1:2] == [_QUICK] and os.name == "posix":
        from .start_up import run_quickly

        run_quickly("runtime.commands.classify", sys.argv[2:])
    from .command_line import pocketlens

    pocketlens(COMMANDS)


if __name__ == "__main__":
    main()
