"""Presets: settings that go together, for everything that is not set explicitly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .backbones import BUNDLED_ARCHITECTURE, NO_WEIGHTS
from .config import SPARSE, TrainingConfig

#: The number of images that the presets' epochs are meant for.
_REFERENCE_IMAGES = 60_000
#: Passes from which on shifted images help. Measured on Fashion-MNIST: after 4 passes shifting cost 0.5 points of
#: accuracy, and mirroring won 0.6.
_MANY_PASSES = 30

#: Below this number of images a batch is half as large.
_FEW_IMAGES = 1000
#: A network for images is trained for at least this number of steps, unless that takes more than this number of passes.
_LEAST_STEPS, _MOST_PASSES = 500, 100
_TRAINING_SHARE = 0.72
#: Passes of `efficientnet_lite0` over so few images; more images get fewer passes, down to the last number. It begins
#: with weights that know photographs.
_PRETRAINED_PASSES, _PRETRAINED_IMAGES, _LEAST_PRETRAINED_PASSES = 40, 400, 10


@dataclass(frozen=True)
class Preset:
    """The settings of a preset.

    Attributes:
        epochs: passes over 60,000 images; a smaller set gets more, up to `most_epochs`.
        dense_epochs: the same for `dense`, whose steps cost little.
        cnn_learning_rate: rate for `cnn`: standardized kernels bear higher rates than others, most of all in long
            trainings.
        label_smoothing: for all architectures but `dense`.
        erase: whether parts of the images are erased. In 100 passes over Fashion-MNIST without it `small` overfitted:
            0.9625 accuracy on training images, 0.9347 on others.
    """

    epochs: int
    dense_epochs: int
    cnn_learning_rate: float
    most_epochs: int
    label_smoothing: float
    erase: bool


PRESETS = {
    "fast": Preset(
        epochs=12, dense_epochs=20, cnn_learning_rate=4e-3, most_epochs=40, label_smoothing=0.05, erase=False
    ),
    "best": Preset(
        epochs=80, dense_epochs=60, cnn_learning_rate=8e-3, most_epochs=300, label_smoothing=0.05, erase=True
    ),
}


def default_epochs(images: int, architecture: str, preset: str = "fast") -> int:
    """The number of passes over a data set of `images` images."""
    chosen = PRESETS[preset]
    base = chosen.dense_epochs if architecture == "dense" else chosen.epochs
    return int(min(chosen.most_epochs, max(base, round(base * math.sqrt(_REFERENCE_IMAGES / images)))))


def _pretrained_defaults(images: int, epochs: int | None) -> dict[str, Any]:
    """Defaults of `efficientnet_lite0` with weights: all convolutions learn after the head, for few passes.

    Measured on photographs of 32x32 pixels enlarged to 160x160, 30 of each of 10 classes, 40 passes: accuracy 0.709
    where 0.3 of the convolutions learn, 0.736 where 0.7 do, and 0.756 where all do and patience never ends it.
    """
    share = math.sqrt(_PRETRAINED_IMAGES / images)
    passes = epochs or max(_LEAST_PRETRAINED_PASSES, round(_PRETRAINED_PASSES * min(1.0, share)))
    return {"epochs": passes, "patience": max(8, passes // 2), "fine_tune_layers": 1.0}


def default_patience(epochs: int) -> int:
    """A third of the epochs: the last third of the cosine gains most, and less patience would stop before it."""
    return max(8, epochs // 3)


def complete_config(given: dict[str, Any], preset: str, images: int, augmentations: tuple[str, ...]) -> TrainingConfig:
    """A configuration from explicit settings, and from the preset where a setting is None or missing.

    `dense` gets neither augmentation nor label smoothing: it has too few weights to learn shifted images as well. Label
    smoothing needs one-hot targets, which sparse categorical cross-entropy does not take. With a teacher no label is
    smoothed: its scores are smooth.

    Args:
        given: fields of `TrainingConfig`, `architecture` among them.
        preset: a key of `PRESETS`.
        images: the number of images of the data set.
        augmentations: those that keep this data set's labels.

    Raises:
        TrainingError: a value out of range.
    """
    explicit = {name: value for name, value in given.items() if value is not None}
    chosen, plain, taught = PRESETS[preset], explicit["architecture"] == "dense", "teacher" in explicit
    batch_size = explicit.get("batch_size") or TrainingConfig.batch_size // (2 if images < _FEW_IMAGES else 1)
    epochs = explicit.get("epochs") or default_epochs(images, explicit["architecture"], preset)
    if "epochs" not in explicit and not plain:
        steps = math.ceil(_TRAINING_SHARE * images / batch_size)
        epochs = max(epochs, min(_MOST_PASSES, math.ceil(_LEAST_STEPS / steps)))
    kinds = () if plain else tuple(kind for kind in augmentations if kind != "shift" or epochs >= _MANY_PASSES)
    defaults: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "patience": default_patience(epochs),
        "label_smoothing": 0.0 if plain or taught or explicit.get("loss") == SPARSE else chosen.label_smoothing,
        "augmentation": kinds + (("erase",) if chosen.erase and kinds else ()),
        **({"learning_rate": chosen.cnn_learning_rate} if explicit["architecture"] == "cnn" else {}),
    }
    if explicit["architecture"] == BUNDLED_ARCHITECTURE and explicit.get("weights") != NO_WEIGHTS:
        defaults |= _pretrained_defaults(images, explicit.get("epochs"))
    return TrainingConfig(**(defaults | explicit))
