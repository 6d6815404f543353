"""The command `pocketlens`: the table of its subcommands."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

#: Name to ("module:attribute", one line of help).
COMMANDS = {
    "classify": ("runtime.cli.classify:COMMAND", "Classify images with an exported model."),
    "watch": ("runtime.cli.watch:watch", "Classify each image that arrives in a folder, once."),
    "live": ("runtime.cli.live:live", "Answer what a camera sees, and tell when the answer changes."),
    "serve": ("runtime.cli.serve:serve", "Answer pictures over HTTP, and show a camera on a page."),
    "service": ("runtime.cli.service:service", "Run live, watch, serve or update as a service of systemd."),
    "update": ("runtime.cli.update:update", "Install the newest model of a signed repository."),
    "info": ("runtime.cli.info:info", "Show what is inside an exported model."),
    "explain": ("runtime.cli.explain:explain_command", "Show which parts of a picture an answer comes from."),
    "bench": ("runtime.cli.bench:bench", "Measure how fast a model answers on this machine."),
    "doctor": ("runtime.cli.doctor:doctor", "Check this machine, and say how to cure what is wrong."),
    "selftest": ("runtime.cli.selftest:selftest", "Check that a model answers here as on the workstation."),
    "teach": ("runtime.cli.teach:teach_command", "Teach a class to an exported model, from a few pictures."),
    "data": ("trainer.cli.data:data", "Look at a data set (workstation)."),
    "find-lr": ("trainer.cli.find_lr:find_lr", "Find a learning rate (workstation)."),
    "train": ("trainer.cli.train:train", "Train a classifier (workstation)."),
    "evaluate": ("trainer.cli.evaluate:evaluate", "Measure a run or a model on a data set (workstation)."),
    "inspect": ("trainer.cli.inspect:inspect", "Show the layers and weights of a trained run (workstation)."),
    "compare": ("trainer.cli.compare:compare", "Compare runs, or a new model with an old one (workstation)."),
    "search": ("exporter.cli.search:search", "Look for the best network within a budget (workstation)."),
    "export": ("exporter.cli.export:export", "Convert, check and publish a trained run (workstation)."),
    "collect": ("trainer.cli.collect:collect", "Collect the pictures that devices have kept (workstation)."),
    "review": ("trainer.cli.review:review", "Label collected pictures on a page (workstation)."),
    "repo": ("exporter.cli.repo:repo", "Publish models in a signed repository (workstation)."),
    "bundle": ("exporter.cli.bundle:bundle", "Pack a model for a device without a network (workstation)."),
    "cache": ("runtime.cli.cache:cache", "Show or clear what Pocketlens keeps between two starts."),
    "completion": ("runtime.cli.completion:completion", "Print the script that completes commands in a shell."),
}

#: The command that scripts start for every picture, so its start must be quick.
_QUICK = "classify"


def main() -> NoReturn:
    """From a folder of images to a checked int8 TensorFlow Lite model, and to answers on a device."""
    if sys.argv[1:2] == [_QUICK] and os.name == "posix":
        from .fast_start import run_quickly

        run_quickly("runtime.cli.classify", sys.argv[2:])
    from .app import pocketlens

    pocketlens(COMMANDS)


if __name__ == "__main__":
    main()
