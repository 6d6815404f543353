"""Options that were typed, and mean nothing for the network or the optimizer that was chosen."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from runtime.errors import UsageError

from ..backbones import BACKBONES, NO_WEIGHTS
from ..config import CUSTOM

#: What an option says something about.
_OF_ARCHITECTURES = {
    "size": ("cnn",),
    "units": ("dense",),
    "activation": ("dense",),
    "weights": tuple(BACKBONES),
    "alpha": tuple(name for name, body in BACKBONES.items() if body.has_width),
    "head_epochs": tuple(BACKBONES),
    "fine_tune_layers": tuple(BACKBONES),
}
_OF_WEIGHTS = ("head_epochs", "fine_tune_layers")


def typed_options() -> dict[str, str]:
    """Of the command that runs: each option that was typed, by its parameter's name, as people know it."""
    context = click.get_current_context()
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }


def check_typed(given: dict[str, Any]) -> None:
    """Refuse options that would be passed over without a word.

    Args:
        given: fields of `TrainingConfig`.

    Raises:
        UsageError: it names the option, and what it is for.
    """
    typed, architecture = typed_options(), given["architecture"]
    if architecture == CUSTOM and "arch" in typed:
        raise UsageError("--arch names a network of ours, and --model-file is your own; leave one of them out")
    chosen = "--model-file" if architecture == CUSTOM else f"--arch {architecture}"
    for name, architectures in _OF_ARCHITECTURES.items():
        if name in typed and architecture not in architectures:
            raise UsageError(f"{typed[name]} is for --arch {', '.join(architectures)}; {chosen} has no use for it")
    for name in _OF_WEIGHTS:
        if name in typed and given["weights"] == NO_WEIGHTS:
            raise UsageError(f"{typed[name]} is for a body that brings weights; --weights {NO_WEIGHTS} trains it whole")
    if "weight_decay" in typed and given["optimizer"] != "adamw":
        raise UsageError(f"{typed['weight_decay']} is for --optimizer adamw; {given['optimizer']} has none")
