"""What the options of a training mean where the data are vectors of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import TrainingError
from ..spec import OWN

if TYPE_CHECKING:
    from runtime import FeaturesInput

#: Options that say something about images or networks for images.
_FOR_IMAGES = ("image_size", "colour", "resize", "size", "weights", "cache")
_ARCHITECTURE = "dense"


def for_features(given: dict[str, Any], name: str, spec: FeaturesInput) -> dict[str, Any]:
    """The settings for a data set of features: the architecture is dense unless it was said, augmentation none.

    Args:
        given: fields of `TrainingSpec`.
        name: of the data set.

    Raises:
        TrainingError: an option that is for images was typed.
    """
    context = click.get_current_context()
    typed = {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }
    has = f"{name} has {spec.describe()}"
    for option in _FOR_IMAGES:
        if option in typed:
            raise TrainingError(f"{typed[option]} is for images, and {has}; leave it out")
    if given.get("augmentation"):
        raise TrainingError(f"--augment {','.join(given['augmentation'])} is for images, and {has}; leave it out")
    architecture = given["architecture"]
    if architecture not in (OWN, _ARCHITECTURE):
        if "arch" in typed:
            raise TrainingError(f"--arch {architecture} is for images, and {has}; use --arch {_ARCHITECTURE}")
        architecture = _ARCHITECTURE
    return given | {"architecture": architecture, "augmentation": ()}
