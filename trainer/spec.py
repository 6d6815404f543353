"""The settings of a training, as a value. Light: checked before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import TrainingError

ARCHITECTURES = ("cnn", "dense")
#: A person's own `build_model` in a Python file.
OWN = "own"
#: Of `cnn`; int8 files of about 35, 100, 300 kB and 1 MB.
SIZES = ("tiny", "small", "base", "large")
#: Of the hidden layers of `dense`; each has an int8 kernel in tflite-runtime 2.14.
ACTIVATIONS = ("relu", "relu6", "elu", "tanh", "sigmoid", "leaky_relu", "silu", "gelu")
OPTIMIZERS = ("adamw", "adam", "nadam", "rmsprop", "sgd")
#: What may be done to a training picture; see `augmentation`.
AUGMENTATIONS = ("shift", "flip", "erase", "colour")
MAX_UNITS = 8192


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that decides what comes out of a training, beside the data.

    Attributes:
        architecture: `"cnn"`, `"dense"`, or `"own"`.
        size: of `cnn`, one of `SIZES`.
        units, activation: the hidden layers of `dense`.
        model_file: of `own`: a Python file that has `build_model(input_shape, classes)`.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: at its highest; it rises over the first 5 % of the steps and falls to 0 along a cosine.
        weight_decay: share of the weights that AdamW takes off a step, times the learning rate.
        label_smoothing: probability, 0 to below 1, that is spread over all classes; cross-entropy is then categorical.
        augmentation: some of `AUGMENTATIONS`, applied to training pictures only.
        balance: weigh pictures so that each class counts the same.
        epochs: passes over the training split.
        patience: passes without a better validation accuracy after which training stops; 0 for never.
        batch_size: pictures a step.
        quantization_aware: train on afterwards with the rounding of an int8 file simulated.
        quantization_aware_epochs: passes of that; 0 for a fifth of `epochs`, two at least.
        seed: of the splits, the initial weights, the order of the pictures, augmentation and dropout.
    """

    architecture: str = "cnn"
    size: str = "small"
    units: tuple[int, ...] = (128,)
    activation: str = "relu"
    model_file: str | None = None
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.0
    augmentation: tuple[str, ...] = ()
    balance: bool = False
    epochs: int = 10
    patience: int = 0
    batch_size: int = 64
    quantization_aware: bool = False
    quantization_aware_epochs: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_names()
        self._check_numbers()

    def _check_names(self) -> None:
        choices = {
            "architecture": (*ARCHITECTURES, OWN),
            "size": SIZES,
            "activation": ACTIVATIONS,
            "optimizer": OPTIMIZERS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise TrainingError(f"{name} {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        for name in self.augmentation:
            if name not in AUGMENTATIONS:
                raise TrainingError(f"augmentation {name!r}, expected one of {', '.join(AUGMENTATIONS)}, or none")
        if (self.architecture == OWN) != (self.model_file is not None):
            raise TrainingError("a model file is for the architecture 'own', and expected there; see --model-file")

    def _check_numbers(self) -> None:
        if not self.units or not all(1 <= n <= MAX_UNITS for n in self.units):
            raise TrainingError(f"units {list(self.units)}, expected one or more numbers from 1 to {MAX_UNITS}")
        if not 0 < self.learning_rate <= 10:
            raise TrainingError(f"learning rate {self.learning_rate}, expected a number above 0, at most 10")
        if not 0 <= self.weight_decay <= 1:
            raise TrainingError(f"weight decay {self.weight_decay}, expected a number from 0 to 1")
        if not 0 <= self.label_smoothing < 1:
            raise TrainingError(f"label smoothing {self.label_smoothing}, expected a number from 0 to below 1")
        least_of = {"epochs": 1, "batch_size": 1, "patience": 0, "quantization_aware_epochs": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise TrainingError(f"{name.replace('_', ' ')} {getattr(self, name)}, expected {least} or more")
        if self.quantization_aware_epochs and not self.quantization_aware:
            raise TrainingError("quantization-aware epochs are for --quantization-aware; give both")
