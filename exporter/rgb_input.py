"""Grey conversion inside the graph, so that a grey model can be used where only RGB images are accepted.

The weights are those of ITU-R BT.601, which Pillow uses too. They sum to 1, so that the weighted sum of scaled channels
is the scaled grey value: the conversion is one 1x1 convolution behind the scaling, with no constant of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from runtime.files import shown
from trainer.data.run_folder import RunFolder

from .errors import ExportError
from .representative_dataset import RepresentativeDataset

_WEIGHTS = (0.299, 0.587, 0.114)
LAYER = "rgb_to_grey"


def with_rgb_contract(run: RunFolder) -> RunFolder:
    """The run with a contract that takes RGB images, scaled as the grey ones were.

    Raises:
        ExportError: its model takes no images, or takes colour already.
    """
    spec = run.contract.input
    if spec.kind != "image":
        raise ExportError(f"{shown(run.folder)}: its model takes {spec.describe()}, no images; leave out `rgb_input`")
    if spec.colour != "grey":
        raise ExportError(f"{shown(run.folder)}: its model takes {spec.colour} pictures already; leave out `rgb_input`")
    spec = replace(spec, colour="rgb", mean=spec.mean * 3, std=spec.std * 3)
    return replace(run, contract=replace(run.contract, input=spec))


def with_grey_conversion(model: Any) -> Any:
    """A Keras model that takes one channel, as one that takes three.

    Args:
        model: from `keras_loading.load_model`.
    """
    inputs = keras.Input(batch_shape=(*model.input_shape[:3], 3), name="image")
    to_grey = keras.layers.Conv2D(1, 1, use_bias=False, name=LAYER)
    outputs = model(to_grey(inputs))
    to_grey.set_weights([np.reshape(np.asarray(_WEIGHTS, np.float32), (1, 1, 3, 1))])
    return keras.Model(inputs, outputs, name="classifier")


def span_black_and_white(representative: RepresentativeDataset) -> RepresentativeDataset:
    """The same images; where no image has a black or a white pixel, one pixel of the first is set to it.

    The converter takes the range of the grey image from these pixels, and clips values beyond it.
    """
    pixels = representative.samples.copy()
    first = pixels[0].reshape(-1, 3)
    sums = first.sum(axis=1)
    if not (pixels == 0).all(axis=3).any():
        first[sums.argmin()] = 0
    if not (pixels == 255).all(axis=3).any():
        first[sums.argmax()] = 255
    return replace(representative, samples=pixels)
