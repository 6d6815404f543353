"""What the options of a training mean where the data are vectors of features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..config import CUSTOM, TrainingConfig
from ..data.splits import TRAINING_SHARE
from ..errors import TrainingError
from ..presets import default_epochs
from .typed_options import typed_options

if TYPE_CHECKING:
    from runtime import FeaturesInput

    from ..data import Dataset

#: Options that say something about images or networks for images.
_FOR_IMAGES = ("image_size", "colour", "resize", "size", "cache", "weights", "alpha", "head_epochs", "fine_tune_layers")
_ARCHITECTURE = "dense"
#: Vectors are few beside images, and a step over them a small one: five times the rate for images.
_LEARNING_RATE = 0.01
#: Steps that a training takes at least, whatever few rows there are, unless that were more epochs than the second.
_LEAST_STEPS, _MOST_EPOCHS = 500, 200


def for_features(given: dict[str, Any], preset: str, data: Dataset, spec: FeaturesInput) -> dict[str, Any]:
    """The settings for a data set of features: unless others were typed, dense, a higher learning rate, enough steps.

    Args:
        given: fields of `TrainingConfig`.
        preset: of `presets.PRESETS`.
        spec: the data set's input.

    Raises:
        TrainingError: an option that is for images was typed.
    """
    typed = typed_options()
    has = f"{data.name} has {spec.describe()}"
    for option in _FOR_IMAGES:
        if option in typed:
            raise TrainingError(f"{typed[option]} is for images, and {has}; leave it out")
    if given.get("augmentation"):
        raise TrainingError(f"--augment {','.join(given['augmentation'])} is for images, and {has}; leave it out")
    architecture = given["architecture"]
    if architecture not in (CUSTOM, _ARCHITECTURE):
        if "arch" in typed:
            raise TrainingError(f"--arch {architecture} is for images, and {has}; use --arch {_ARCHITECTURE}")
        architecture = _ARCHITECTURE
    found = {"architecture": architecture, "augmentation": ()}
    if "learning_rate" not in typed:
        found["learning_rate"] = _LEARNING_RATE
    if given.get("epochs") is None:
        found["epochs"] = _epochs(len(data.targets), given["batch_size"] or TrainingConfig.batch_size, preset)
    return given | found


def _epochs(rows: int, batch_size: int, preset: str) -> int:
    steps = math.ceil(TRAINING_SHARE * rows / batch_size)
    return max(default_epochs(rows, _ARCHITECTURE, preset), min(_MOST_EPOCHS, math.ceil(_LEAST_STEPS / steps)))
