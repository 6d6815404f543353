"""The settings of a training, as a value. Imports nothing heavy, so that settings are checked first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, NamedTuple

from .backbones import BACKBONES, BUNDLED, IMAGENET, NO_WEIGHTS, Backbone
from .errors import TrainingError

ARCHITECTURES = ("cnn", "dense", *BACKBONES)
#: The architecture of a user's own `build_model` in a Python file.
CUSTOM_ARCHITECTURE = "own"


class Stages(NamedTuple):
    """Filters of the three stages of `cnn`, and the residual blocks of each."""

    first: int
    second: int
    third: int
    blocks: int


#: The stages of each size of `cnn`: int8 files of about 45, 97, 295 and 910 kB for images of 28x28.
STAGES_OF_SIZE = {
    "tiny": Stages(8, 16, 32, 1),
    "small": Stages(16, 28, 48, 1),
    "base": Stages(16, 36, 70, 2),
    "large": Stages(32, 64, 128, 2),
}
SIZES = tuple(STAGES_OF_SIZE)
#: Activations of the hidden layers of `dense`; each has an int8 kernel in tflite-runtime 2.14.
ACTIVATIONS = ("relu", "relu6", "elu", "tanh", "sigmoid", "leaky_relu", "silu", "gelu", "linear")
OPTIMIZERS = ("adamw", "adam", "nadam", "rmsprop", "sgd")
#: How the learning rate changes after the warm-up; see `fitting.optimizers`.
SCHEDULES = ("cosine", "constant", "exponential")
#: Share of the steps in which the rate of `"cosine"` rises. A training at a constant rate has no warm-up in Keras.
_COSINE_WARMUP = 0.05
AUTO_LOSS = "auto"
SPARSE, CATEGORICAL = "sparse-categorical-crossentropy", "categorical-crossentropy"
BINARY, FOCAL = "binary-crossentropy", "focal"
LOSSES = (AUTO_LOSS, SPARSE, CATEGORICAL, BINARY, FOCAL)
#: Changes of training images; see `fitting.augmentation`.
AUGMENTATIONS = ("shift", "flip", "erase", "colour")
MAX_UNITS = 8192
#: The most filters and residual blocks of a stage of `cnn`.
MAX_FILTERS, MAX_BLOCKS = 512, 8
#: How pixels are scaled: to about zero mean and unit variance, before the network or by its first layer; to 0 to 1; not
#: at all.
STANDARDISE, INSIDE, UNIT, UNSCALED = "standardise", "inside", "unit", "none"
SCALINGS = (STANDARDISE, INSIDE, UNIT, UNSCALED)
#: When to compute in 16 bits: where the machine has fast units for it, always, never.
MIXED_PRECISIONS = ("auto", "on", "off")
_ALPHAS = (0.1, 2.0)
_MAX_TEMPERATURE = 100
#: Fields with another name in files: `metrics.json` and the identity of checkpoints keep it.
_NAMES_IN_FILES = {"normalize": "normalise"}


def parse_augmentation(text: str) -> tuple[str, ...]:
    """Names from `AUGMENTATIONS` with commas between; `"none"` is the empty tuple.

    Raises:
        ValueError: another name, or none beside names.
    """
    kinds = () if text == "none" else tuple(text.split(","))
    if "none" in kinds:
        raise ValueError(f"{text!r}: none stands alone")
    for kind in kinds:
        if kind not in AUGMENTATIONS:
            raise ValueError(f"{kind!r}, expected {', '.join(AUGMENTATIONS)} with commas between, or none")
    return kinds


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the result of a training, besides the data.

    Attributes:
        architecture: `"cnn"`, `"dense"`, a backbone in `BACKBONES`, or `"own"`.
        size: size of `cnn`, one of `SIZES`.
        widths: filters of the three stages of `cnn`; none for those of `size`.
        blocks: residual blocks in each stage of `cnn`, 0 to 8; None for those of `size`.
        units, activation: the hidden layers of `dense`; without units it is a linear network.
        model_file: for `"own"`: a Python file with `build_model(input_shape, classes)`.
        weights: initial weights of a backbone: `"bundled"`, `"imagenet"`, `"none"`, a file or a run folder; None for
            the published ones of the backbone, and for networks without a backbone.
        alpha: width of a backbone, as a factor of each layer's filters.
        head_epochs: epochs at the beginning in which pretrained weights are frozen; None for a quarter of `epochs`.
        fine_tune_layers: the backbone's topmost convolutions that are trained after that: a whole number, or a float
            for a share of them, 0 to 1. Its batch normalizations stay frozen.
        mixed_precision: whether to compute in 16 bits, one of `MIXED_PRECISIONS`; see `models.mixed_precision`. The
            resulting model is float32.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: the highest rate.
        schedule: how the rate changes after the warm-up, one of `SCHEDULES`: it falls to 0 along a cosine, stays, or
            falls by the same factor in each step, to a hundredth at the end.
        warmup: share of the steps, 0 to below 1, in which the rate rises from 0; None for 0.05 with `"cosine"` and 0
            with the others.
        weight_decay: share of the weights that AdamW subtracts in a step, times the learning rate.
        momentum: share, 0 to below 1, of the last step that SGD adds to the next one.
        loss: one of `LOSSES`; `loss_for` gives the choice of `"auto"`.
        label_smoothing: probability, 0 to below 1, that is spread over all classes.
        teacher: a run folder or a `.keras` file whose scores are learned beside the labels; None for the labels alone.
            See `fitting.distillation`.
        distillation_temperature: above 0: divides the logits of teacher and student; higher values show more of what
            the teacher thinks of the wrong classes.
        distillation_weight: share, above 0 and up to 1, of the teacher's scores in the loss.
        augmentation: names from `AUGMENTATIONS`, applied to training images only.
        balance: weight images so that each class counts the same; for `multilabel`, so that the presence and the
            absence of a label count the same.
        normalize: whether the input is scaled; False is `scaling="none"`, and becomes so by it.
        scaling: one of `SCALINGS`: `"standardise"` gives about zero mean and unit variance; `"inside"` gives the same
            weights, and the resulting model has this scaling as its first layer and takes pixels of 0 to 255; `"unit"`
            divides pixels by 255; with `"none"` the network gets pixels of 0 to 255, or features in their units.
        train_samples: the training samples to use, chosen at random with each class in proportion: a whole number, or a
            float for a share of the training split; None for all. Validation and test split stay as they are.
        epochs: passes over the training samples.
        steps_per_epoch: steps after which a pass ends, with other images each time; 0 for the whole split.
        patience: epochs without a better one on the validation split after which training stops; 0 for never.
        batch_size: images a step.
        quantization_aware: train on afterwards with the rounding of an int8 file simulated.
        quantization_aware_epochs: epochs of that phase; 0 for a fifth of `epochs`, but at least two.
        seed: seed of the splits, the initial weights, the order of the images, augmentation and dropout.

    Raises:
        TrainingError: a setting is out of range, or does not go with another one.
    """

    architecture: str = "cnn"
    size: str = "small"
    units: tuple[int, ...] = (128,)
    activation: str = "relu"
    model_file: str | None = None
    weights: str | None = None
    alpha: float = 1.0
    head_epochs: int | None = None
    fine_tune_layers: int | float = 0.3
    mixed_precision: str = "auto"
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    schedule: str = "cosine"
    warmup: float | None = None
    weight_decay: float = 0.05
    momentum: float = 0.0
    loss: str = AUTO_LOSS
    label_smoothing: float = 0.0
    teacher: str | None = None
    distillation_temperature: float = 4.0
    distillation_weight: float = 0.9
    augmentation: tuple[str, ...] = ()
    balance: bool = False
    normalize: bool = True
    scaling: str = STANDARDISE
    train_samples: int | float | None = None
    epochs: int = 10
    steps_per_epoch: int = 0
    patience: int = 0
    batch_size: int = 64
    quantization_aware: bool = False
    quantization_aware_epochs: int = 0
    seed: int = 0
    widths: tuple[int, ...] = ()
    blocks: int | None = None

    def __post_init__(self) -> None:
        if self.weights is None and self.architecture in BACKBONES:
            object.__setattr__(self, "weights", BACKBONES[self.architecture].published)
        if self.warmup is None:
            object.__setattr__(self, "warmup", _COSINE_WARMUP if self.schedule == "cosine" else 0.0)
        if self.scaling == UNSCALED or (not self.normalize and self.scaling == STANDARDISE):
            object.__setattr__(self, "scaling", UNSCALED)
            object.__setattr__(self, "normalize", False)
        self._check_types()
        self._check_names()
        self._check_numbers()
        self._check_combinations()
        self._check_backbone()

    def as_dict(self) -> dict[str, Any]:
        """The settings by the names that `metrics.json` and the identity of checkpoints use."""
        return {_NAMES_IN_FILES.get(name, name): value for name, value in asdict(self).items()}

    def loss_for(self, task: str) -> str:
        """The name of the loss for a task, one of `LOSSES` without `"auto"`.

        Raises:
            TrainingError: the configured loss is not for this task, or not with `balance`.
        """
        if self.loss == AUTO_LOSS:
            several = CATEGORICAL if self.label_smoothing or self.teacher is not None else SPARSE
            return several if task == "multiclass" else BINARY
        fitting = (SPARSE, CATEGORICAL, FOCAL) if task == "multiclass" else (BINARY, FOCAL)
        if self.loss not in fitting:
            outputs = {"multiclass": "a softmax", "binary": "one sigmoid", "multilabel": "a sigmoid for each label"}
            raise TrainingError(
                f"`loss={self.loss}` does not go with `task={task}`, whose network ends in {outputs[task]}; "
                f"use {' or '.join(fitting)}"
            )
        if self.loss == FOCAL and self.balance and task == "multilabel":
            raise TrainingError("`balance` weights the binary cross-entropy of each label; leave `loss=focal` out")
        return self.loss

    def _check_types(self) -> None:
        for name in ("units", "augmentation", "widths"):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise TrainingError(f"{name} {value!r}, expected a tuple, such as ({value!r},)")
        for each in fields(self):
            value, kinds = getattr(self, each.name), str(each.type).split(" | ")
            if not {"int", "float"} & {*kinds} or (value is None and "None" in kinds):
                continue
            kind, words = (Real, "a number") if "float" in kinds else (Integral, "a whole number")
            if isinstance(value, bool) or not isinstance(value, kind):
                raise TrainingError(f"{each.name.replace('_', ' ')} {value!r}, expected {words}")

    def _check_names(self) -> None:
        choices = {
            "architecture": (*ARCHITECTURES, CUSTOM_ARCHITECTURE),
            "size": SIZES,
            "activation": ACTIVATIONS,
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "loss": LOSSES,
            "scaling": SCALINGS,
            "mixed_precision": MIXED_PRECISIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise TrainingError(f"{name} {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        for name in self.augmentation:
            if name not in AUGMENTATIONS:
                raise TrainingError(f"augmentation {name!r}, expected one of {', '.join(AUGMENTATIONS)}, or none")
        if (self.architecture == CUSTOM_ARCHITECTURE) != (self.model_file is not None):
            raise TrainingError("a model file is for the architecture 'own', and expected there; see `model_file`")

    def _check_numbers(self) -> None:
        if not all(1 <= n <= MAX_UNITS for n in self.units):
            raise TrainingError(f"units {list(self.units)}, expected numbers from 1 to {MAX_UNITS}, or none")
        self._check_stages()
        if not 0 < self.learning_rate <= 10:
            raise TrainingError(f"learning rate {self.learning_rate}, expected a number above 0, at most 10")
        if not 0 <= self.weight_decay <= 1:
            raise TrainingError(f"weight decay {self.weight_decay}, expected a number from 0 to 1")
        for name in ("warmup", "momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                value = getattr(self, name)
                raise TrainingError(f"{name.replace('_', ' ')} {value}, expected a number from 0 to below 1")
        self._check_distillation()
        samples = self.train_samples
        if samples is not None and not (0 < samples <= 1 if isinstance(samples, float) else samples >= 1):
            raise TrainingError(f"train samples {samples}, expected a whole number from 1 on, or a share up to 1.0")
        least_of = {"epochs": 1, "steps_per_epoch": 0, "batch_size": 1, "patience": 0, "quantization_aware_epochs": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise TrainingError(f"{name.replace('_', ' ')} {getattr(self, name)}, expected {least} or more")

    def _check_stages(self) -> None:
        widths: Sequence[Any] = self.widths
        numbers = all(isinstance(n, int) and 1 <= n <= MAX_FILTERS for n in widths)
        if len(widths) not in (0, 3) or not numbers:
            raise TrainingError(f"widths {list(widths)}, expected 3 whole numbers from 1 to {MAX_FILTERS}, or none")
        if self.blocks is not None and not 0 <= self.blocks <= MAX_BLOCKS:
            raise TrainingError(f"blocks {self.blocks}, expected a number from 0 to {MAX_BLOCKS}")
        if self.architecture != "cnn" and (self.widths or self.blocks is not None):
            raise TrainingError(f"widths and blocks are for `architecture=cnn`; {self.architecture} has none of them")

    def _check_distillation(self) -> None:
        if not 0 < self.distillation_temperature <= _MAX_TEMPERATURE:
            raise TrainingError(
                f"distillation temperature {self.distillation_temperature}, expected a number above 0, at most "
                f"{_MAX_TEMPERATURE}"
            )
        if not 0 < self.distillation_weight <= 1:
            raise TrainingError(f"distillation weight {self.distillation_weight}, expected a number above 0, at most 1")
        if self.teacher is None:
            return
        if self.label_smoothing:
            raise TrainingError(
                f"label smoothing {self.label_smoothing} and `teacher`: the teacher's scores are smooth already; leave "
                "`label_smoothing` out"
            )
        if self.loss == SPARSE:
            raise TrainingError(f"`teacher` needs one-hot targets: use `loss={CATEGORICAL}`, not {SPARSE}")

    def _check_combinations(self) -> None:
        if not self.normalize and self.scaling != UNSCALED:
            raise TrainingError(
                f"`normalize=False` does not scale, and `scaling={self.scaling}` does; give one of them"
            )
        if self.architecture in BACKBONES and self.scaling == UNIT:
            raise TrainingError(f"`scaling=unit` is for other networks: {self.architecture} has a scaling of its own")
        if self.momentum and self.optimizer != "sgd":
            raise TrainingError(f"momentum is for `optimizer=sgd`; {self.optimizer} has its own")
        if self.label_smoothing and self.loss == SPARSE:
            raise TrainingError(f"label smoothing needs one-hot targets: use `loss={CATEGORICAL}`, not {SPARSE}")
        if self.quantization_aware_epochs and not self.quantization_aware:
            raise TrainingError("quantization-aware epochs are for `quantization_aware`; give both")

    def _check_backbone(self) -> None:
        backbone = BACKBONES.get(self.architecture)
        if backbone is None:
            if self.weights is not None:
                raise TrainingError(
                    f"weights are for `architecture={', '.join(BACKBONES)}`; {self.architecture} has none"
                )
            if self.alpha != 1:
                raise TrainingError(f"alpha is the width of {', '.join(BACKBONES)}; for cnn see `size`")
            return
        if not self.normalize:
            raise TrainingError(f"`normalize=False` is for other networks: {self.architecture} expects scaled pixels")
        if self.alpha != 1 and not backbone.has_width:
            raise TrainingError(f"alpha {self.alpha}: {self.architecture} comes in one width, 1.0")
        if not _ALPHAS[0] <= self.alpha <= _ALPHAS[1]:
            raise TrainingError(f"alpha {self.alpha}, expected a number from {_ALPHAS[0]} to {_ALPHAS[1]}")
        self._check_published_weights(backbone)
        if isinstance(self.fine_tune_layers, float) and not 0 <= self.fine_tune_layers <= 1:
            raise TrainingError(f"fine-tune layers {self.fine_tune_layers}, expected a share from 0.0 to 1.0")
        if self.fine_tune_layers < 0 or (self.head_epochs is not None and self.head_epochs < 0):
            raise TrainingError("fine-tune layers and head epochs: expected 0 or more")

    def _check_published_weights(self, backbone: Backbone) -> None:
        if self.weights in (IMAGENET, BUNDLED) and self.weights != backbone.published:
            having = ", ".join(name for name, one in BACKBONES.items() if one.published == self.weights)
            raise TrainingError(
                f"{self.weights} weights are for {having}; {self.architecture} comes with "
                f"`weights={backbone.published}`"
            )
        if self.weights == IMAGENET and self.alpha not in backbone.alphas:
            widths = ", ".join(map(str, backbone.alphas))
            raise TrainingError(
                f"alpha {self.alpha}: {IMAGENET} weights of {self.architecture} come for {widths}; "
                f"take one of them, or `weights={NO_WEIGHTS}`"
            )
