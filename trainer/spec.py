"""The settings of a training, as a value. Light: checked before anything heavy is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import TrainingError

ARCHITECTURES = ("cnn", "dense")
#: Of the hidden layers of `dense`; each has an int8 kernel in tflite-runtime 2.14.
ACTIVATIONS = ("relu", "relu6", "elu", "tanh", "sigmoid", "leaky_relu", "silu", "gelu")
OPTIMIZERS = ("adamw", "adam", "nadam", "rmsprop", "sgd")
MAX_UNITS = 8192


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that decides what comes out of a training, beside the data.

    Attributes:
        architecture: `"cnn"` or `"dense"`.
        units, activation: the hidden layers of `dense`.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: at its highest; it rises over the first 5 % of the steps and falls to 0 along a cosine.
        epochs: passes over the training split.
        batch_size: pictures a step.
        seed: of the splits, the initial weights, the order of the pictures and dropout.
    """

    architecture: str = "cnn"
    units: tuple[int, ...] = (128,)
    activation: str = "relu"
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    epochs: int = 10
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("architecture", ARCHITECTURES), ("activation", ACTIVATIONS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in allowed:
                raise TrainingError(f"{name} {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        if not self.units or not all(1 <= n <= MAX_UNITS for n in self.units):
            raise TrainingError(f"units {list(self.units)}, expected one or more numbers from 1 to {MAX_UNITS}")
        if not 0 < self.learning_rate <= 10:
            raise TrainingError(f"learning rate {self.learning_rate}, expected a number above 0, at most 10")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name.replace('_', ' ')} {getattr(self, name)}, expected 1 or more")


def default_epochs(images: int, architecture: str) -> int:
    """Passes over a data set of so many pictures.

    A small set needs more of them for as many steps, up to 40; `dense`, whose steps cost little, gets twice as many.
    """
    base = 20 if architecture == "dense" else 10
    return int(min(40, max(base, round(base * math.sqrt(60_000 / images)))))
