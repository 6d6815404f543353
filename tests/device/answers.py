"""What is compared between machines: the bytes that a model answers, and the pixels that it is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime import Classifier, ImageInput, load_pixels

#: The models of which answers are kept, in the folder that `tools.device.material` writes.
MODELS = ("float32", "int8", "io-int8", "io-float32")
#: Ways from a picture to pixels: each geometry and several filters, both colours.
INPUTS = {
    "grey28": ImageInput(28, 28, "grey"),
    "rgb224": ImageInput(224, 224, "rgb"),
    "bgr-crop": ImageInput(96, 64, "bgr", "crop", "bicubic"),
    "rgb-pad": ImageInput(48, 96, "rgb", "pad", "bilinear", background=(9, 99, 199)),
    "grey-lanczos": ImageInput(160, 120, "grey", "stretch", "lanczos"),
}
#: The compressed formats, which libraries may decode differently.
LOSSY = ("jpg", "webp")


def stored_answers(classifier: Classifier, images: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.generic]:
    """What the output tensor holds for each image, in its own type: (images, labels)."""
    return np.concatenate([classifier.run(image) for image in images])


def pixels_of(pictures: Path) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Every picture of a folder by every way of `INPUTS`: a key that names both, and the pixels."""
    for path in sorted(pictures.iterdir()):
        for name, spec in INPUTS.items():
            yield f"{path.name} {name}", load_pixels(path, spec)
