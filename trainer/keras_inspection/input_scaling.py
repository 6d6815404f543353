"""The scaling that a network applies to its input by itself, such as a Rescaling layer or `preprocess_input`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from .graph import all_calls, graph_of

#: Layers and operations that scale, shift or reorder channels.
_SCALING = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add")
_REORDERING = ("GetItem", "Stack", "Concatenate", "Flip", "Take")
#: Layers and operations that leave pixel values as they are when a network predicts.
_NEUTRAL = (
    *("Activation", "Cast", "CenterCrop", "Dropout", "ExpandDims", "Flatten", "GaussianNoise", "Identity"),
    *("InputLayer", "Permute", "Reshape", "Resizing", "Squeeze", "ZeroPadding2D"),
)
#: How far apart black and white may be behind the scaling.
_LEAST_SPAN, _LARGEST_SPAN = 0.4, 40.0
#: A scaling nearer to the identity than this says nothing of what the network takes.
_NEAR_ONE, _NEAR_ZERO = 0.25, 0.3
#: A shift as large as this is made for pixels: the means of ImageNet are above 100.
_PIXEL_SHIFT = 50.0


@dataclass(frozen=True)
class InputScaling:
    """The scaling layers at the input of a network.

    Attributes:
        layers: their names and kinds, for people.
        takes_pixels: whether the network takes pixels of 0 to 255; otherwise it takes values of about 0 to 1.
        span: the distance between black and white behind the layers, if pixels of 0 to 255 go in.
    """

    layers: str
    takes_pixels: bool
    span: float

    def fits(self, mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
        """Whether `(pixel - mean) / std` suits the network."""
        if self.takes_pixels:
            return set(mean) == {0.0} and set(std) == {1.0}
        return all(_LEAST_SPAN <= self.span / value <= _LARGEST_SPAN for value in std)

    @property
    def mean_and_std(self) -> tuple[float, float]:
        """The mean and std, in pixel units, that follow from the layers."""
        return (0.0, 1.0) if self.takes_pixels else (0.0, 255.0)


def find_input_scaling(model: Any) -> InputScaling | None:
    """The scaling of a network's input by its first layers; None where there is none, or it cannot be known.

    The layers in front of the first one that computes are run on a black and a white image.
    """
    names: list[str] = []
    if not getattr(model, "inputs", None) or None in model.inputs[0].shape[1:]:
        return None
    shape: tuple[int, ...] = tuple(model.inputs[0].shape[1:])
    black_and_white = np.stack([np.zeros(shape, np.float32), np.full(shape, 255, np.float32)])
    try:
        black, white = _run_prefix(model, black_and_white, names)
    except Exception:  # a layer of Keras that does not run alone
        return None
    if not names:
        return None
    slope = (white - black) / 255
    span = float(np.abs(white - black).max())
    moved = np.abs(slope) > 0
    if not moved.any():
        return None
    if np.allclose(slope[moved], 1):
        return InputScaling(", ".join(names), True, span) if black.min() < -_PIXEL_SHIFT else None
    near_identity = np.abs(slope[moved] - 1).max() < _NEAR_ONE and np.abs(black).max() < _NEAR_ZERO
    if near_identity:
        return None
    for takes_pixels, divisor in ((True, 1), (False, 255)):
        if _LEAST_SPAN <= span / divisor <= _LARGEST_SPAN:
            return InputScaling(", ".join(names), takes_pixels, span)
    return None


def _run_prefix(model: Any, images: npt.NDArray[Any], names: list[str]) -> npt.NDArray[Any]:
    """The images behind the scaling layers of a model, and of the models at its input; appends the layers' names."""
    found: list[str] = []
    calls = all_calls(model, nested=False)
    prefix: list[int] = []
    for place, call in enumerate(calls):
        kind = type(call.layer).__name__
        known = kind in (*_SCALING, *_REORDERING, *_NEUTRAL) or kind.startswith("Random")
        if not known or any(given not in prefix for given in call.inputs) or _is_curved(call.layer):
            break
        prefix.append(place)
        if kind in _SCALING:
            found.append(f"{kind} {call.name!r}")
    names += found
    if len(prefix) > 1:
        images = np.asarray(keras.Model(graph_of(model).inputs, calls[prefix[-1]].output)([images], training=False))
    following = calls[len(prefix)] if len(prefix) < len(calls) else None
    if following is not None and graph_of(following.layer) is not None and following.inputs == (prefix[-1],):
        return _run_prefix(following.layer, images, names)
    return images


def _is_curved(layer: Any) -> bool:
    """Whether it is an activation other than linear."""
    if type(layer).__name__ != "Activation":
        return False
    return getattr(layer.activation, "__name__", "") != "linear"
