"""The backbones of keras.applications that can be trained, as a table. Imports nothing heavy.

A backbone is a convolutional network without its classifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import TrainingError

#: Values of `TrainingConfig.weights`: the weights that Keras downloads, and none.
IMAGENET, NO_WEIGHTS = "imagenet", "none"
#: Smallest side of an image: five halvings leave one pixel of it.
LEAST_SIDE = 32
_WEIGHT_SUFFIXES = (".keras", ".h5")
MAX_WEIGHT_BYTES = 2**30


@dataclass(frozen=True)
class Backbone:
    """A convolutional network without its classifier.

    Attributes:
        builder: name of its function in `keras.applications`.
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
    def has_width(self) -> bool:
        """Whether its width, `alpha`, can be chosen."""
        return len(self.alphas) > 1


BACKBONES = {
    "mobilenet_v2": Backbone("MobileNetV2", "Conv1", "bn_Conv1", 128.0, 127.5, (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
    "mobilenet_v3_small": Backbone("MobileNetV3Small", "conv", "conv_bn", 128.0, 127.5, (0.75, 1.0)),
    "efficientnet_b0": Backbone("EfficientNetB0", "stem_conv", "stem_bn", 114.0, 57.63, (1.0,)),
}


def weight_files(weights: str | None) -> list[Path]:
    """The file that `TrainingConfig.weights` names, in a list; empty if it names none."""
    if weights in (None, IMAGENET, NO_WEIGHTS):
        return []
    path = Path(str(weights))
    return [path / "model.keras" if path.is_dir() else path]


def check_weight_files(weights: str | None) -> None:
    """Refuse a file of weights that does not exist or has another format.

    Raises:
        TrainingError: with the cure.
    """
    for path in weight_files(weights):
        if not path.is_file():
            raise TrainingError(f"{path}: no such file of weights; see `weights`")
        if path.suffix not in _WEIGHT_SUFFIXES:
            raise TrainingError(f"{path}: expected weights in a file {', '.join(_WEIGHT_SUFFIXES)}; see `weights`")
        if path.stat().st_size > MAX_WEIGHT_BYTES:
            raise TrainingError(f"{path}: {path.stat().st_size:,} bytes, more than any backbone's weights")
