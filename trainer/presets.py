"""`--preset`: settings that go together, for what a person did not say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .config import TrainingConfig

#: Images for which the presets' epochs are meant.
_REFERENCE_IMAGES = 60_000
#: Passes after which a picture has been seen too often to be shown where it was: measured on Fashion-MNIST, where
#: moving pictures cost 0.5 points after 4 passes, and mirroring them won 0.6.
_MANY_PASSES = 30

#: Below so many images a batch has half as many, and a network for images takes so many steps at least, unless that
#: were more passes than the third.
_FEW_IMAGES, _LEAST_STEPS, _MOST_PASSES = 1000, 500, 100
_TRAINING_SHARE = 0.72


@dataclass(frozen=True)
class Preset:
    """How long, and how hard, to train.

    Attributes:
        epochs: passes over 60,000 images; a smaller set gets more, for as many steps, up to `most_epochs`.
        dense_epochs: the same for `dense`, whose steps cost little.
        cnn_learning_rate: networks with standardized kernels bear more than others, most of all in long trainings.
        label_smoothing: for all but `dense`.
        erase: whether parts of the pictures are blanked out. In 100 passes over Fashion-MNIST without it `small` came
            to know its training pictures by heart: 0.9625 right of them, 0.9347 of others.
    """

    epochs: int
    dense_epochs: int
    cnn_learning_rate: float
    most_epochs: int
    label_smoothing: float
    erase: bool


PRESETS = {
    "fast": Preset(
        epochs=8, dense_epochs=20, cnn_learning_rate=4e-3, most_epochs=40, label_smoothing=0.05, erase=False
    ),
    "best": Preset(
        epochs=80, dense_epochs=60, cnn_learning_rate=8e-3, most_epochs=300, label_smoothing=0.05, erase=True
    ),
}


def default_epochs(images: int, architecture: str, preset: str = "fast") -> int:
    """Passes over a data set of so many pictures."""
    chosen = PRESETS[preset]
    base = chosen.dense_epochs if architecture == "dense" else chosen.epochs
    return int(min(chosen.most_epochs, max(base, round(base * math.sqrt(_REFERENCE_IMAGES / images)))))


def default_patience(epochs: int) -> int:
    """Along a cosine the last third brings most: to wait less than a third would stop before it."""
    return max(8, epochs // 3)


def complete(given: dict[str, Any], preset: str, images: int, suits: tuple[str, ...]) -> TrainingConfig:
    """A spec from what was asked for, and from the preset where nothing was (a value of None, or no key).

    `dense` gets neither augmentation nor label smoothing: it has too few weights to learn a shifted picture too.

    Args:
        given: fields of `TrainingConfig`, `architecture` among them.
        images: how many the data set has.
        suits: the augmentations that keep this data set's labels.

    Raises:
        TrainingError: a value out of range.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    chosen, plain = PRESETS[preset], asked["architecture"] == "dense"
    batch_size = asked.get("batch_size") or TrainingConfig.batch_size // (2 if images < _FEW_IMAGES else 1)
    epochs = asked.get("epochs") or default_epochs(images, asked["architecture"], preset)
    if "epochs" not in asked and not plain:
        steps = math.ceil(_TRAINING_SHARE * images / batch_size)
        epochs = max(epochs, min(_MOST_PASSES, math.ceil(_LEAST_STEPS / steps)))
    kinds = () if plain else tuple(kind for kind in suits if kind != "shift" or epochs >= _MANY_PASSES)
    defaults: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "patience": default_patience(epochs),
        "label_smoothing": 0.0 if plain else chosen.label_smoothing,
        "augmentation": kinds + (("erase",) if chosen.erase and kinds else ()),
        **({"learning_rate": chosen.cnn_learning_rate} if asked["architecture"] == "cnn" else {}),
    }
    return TrainingConfig(**(defaults | asked))
