"""The bodies of keras.applications that can be trained on, as a table. Light: settings are checked against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError

#: `--weights`: those that Keras downloads, and none at all.
IMAGENET, NO_WEIGHTS = "imagenet", "none"
#: Of a picture; five halvings make one pixel of it.
LEAST_SIDE = 32
SUFFIXES = (".keras", ".h5")
MAX_BYTES = 2**30


def weight_files(weights: str | None) -> list[Path]:
    """The file that `--weights` names, in a list; empty where it names none."""
    if weights in (None, IMAGENET, NO_WEIGHTS):
        return []
    path = Path(str(weights))
    return [path / "model.keras" if path.is_dir() else path]


def check_weight_files(weights: str | None) -> None:
    """Refuse a file of weights that is not there, or that cannot be one.

    Raises:
        TrainingError: with the cure.
    """
    for path in weight_files(weights):
        if not path.is_file():
            raise TrainingError(f"{path}: no such file of weights; see --weights")
        if path.suffix not in SUFFIXES:
            raise TrainingError(f"{path}: expected weights in a file {', '.join(SUFFIXES)}; see --weights")
        if path.stat().st_size > MAX_BYTES:
            raise TrainingError(f"{path}: {path.stat().st_size:,} bytes, more than any body's weights")


@dataclass(frozen=True)
class Backbone:
    """A convolutional network without its classifier.

    Attributes:
        builder: its function in `keras.applications`.
        stem, stem_norm: its first convolution, and the batch normalization after it.
        mean, std: of pixels, what the contract says of a model with this body. A whole pixel in the middle of what
            the published weights expect; what is left between the two goes into the stem (`weights`).
        alphas: the widths for which there are published weights; 1.0 alone where the width cannot be chosen.
    """

    builder: str
    stem: str
    stem_norm: str
    mean: float
    std: float
    alphas: tuple[float, ...]

    @property
    def has_width(self) -> bool:
        """Whether `alpha` means anything to it."""
        return len(self.alphas) > 1


BACKBONES = {
    "mobilenet_v2": Backbone("MobileNetV2", "Conv1", "bn_Conv1", 128.0, 127.5, (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
    "mobilenet_v3_small": Backbone("MobileNetV3Small", "conv", "conv_bn", 128.0, 127.5, (0.75, 1.0)),
    "efficientnet_b0": Backbone("EfficientNetB0", "stem_conv", "stem_bn", 114.0, 57.63, (1.0,)),
}
