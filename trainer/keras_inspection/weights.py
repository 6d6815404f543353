"""Figures of a layer's weights that show whether they will quantize well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class WeightFigures:
    """One tensor of a layer.

    Attributes:
        name: as in `"kernel"`.
        values: float32, of the tensor's shape.
        least, greatest, mean, std: of all its values.
        zeros: share of the values that are exactly 0.
        channels: (least, greatest) of each output channel, shape (channels, 2): int8 gives each a scale of its own.
            None for a tensor that has one value a channel.
    """

    name: str
    values: npt.NDArray[np.float32]
    least: float
    greatest: float
    mean: float
    std: float
    zeros: float
    channels: npt.NDArray[np.float32] | None

    @property
    def spread(self) -> float | None:
        """The largest absolute value of the widest channel over the narrowest's.

        None without channels, or where a channel has only zeros.
        """
        if self.channels is None:
            return None
        reach = np.abs(self.channels).max(axis=1)
        return float(reach.max() / reach.min()) if reach.min() > 0 else None

    def as_dict(self, *, channels: bool, values: bool = False) -> dict[str, Any]:
        """For JSON; `channels` adds the range of each channel, `values` all values."""
        figures: dict[str, Any] = {
            "name": self.name,
            "shape": list(self.values.shape),
            "min": self.least,
            "max": self.greatest,
            "mean": self.mean,
            "std": self.std,
            "zeros": self.zeros,
        }
        if channels:
            figures["channels"] = None if self.channels is None else self.channels.tolist()
        if values:
            figures["values"] = self.values.tolist()
        return figures


def weight_figures(layer: Any) -> list[WeightFigures]:
    """The figures of each tensor of a Keras layer or operation; an empty list where it has none."""
    figures = []
    for weight in getattr(layer, "weights", []):
        name = weight.path.rpartition("/")[2]
        values = np.asarray(weight.value)
        if values.dtype.kind == "f" and values.size:  # not a dropout's seeds
            depthwise = name.startswith("depthwise") or type(layer).__name__.startswith("DepthwiseConv")
            figures.append(_figures(name, values.astype(np.float32, copy=False), depthwise))
    return figures


def first_layer_kernels(
    weights: Sequence[WeightFigures], input_shape: tuple[int, ...]
) -> npt.NDArray[np.float32] | None:
    """The kernels of a layer that looks at pixels, shape (height, width, 1 or 3, outputs); None for other layers.

    That is a convolution of one or three channels, or a dense layer with a weight for each pixel of the input.

    Args:
        weights: of the layer.
        input_shape: of the network, (height, width, channels) for images.
    """
    kernel = next((tensor.values for tensor in weights if tensor.name == "kernel"), None)
    if kernel is None or len(input_shape) != 3:
        return None
    if kernel.ndim == 4 and kernel.shape[2] == input_shape[2] and kernel.shape[2] in (1, 3):
        return kernel
    if kernel.ndim == 2 and kernel.shape[0] == math.prod(input_shape):
        return kernel.reshape(*input_shape, kernel.shape[1])
    return None


def _figures(name: str, values: npt.NDArray[np.float32], depthwise: bool) -> WeightFigures:
    wide = values.astype(np.float64)
    return WeightFigures(
        name=name,
        values=values,
        least=float(values.min()),
        greatest=float(values.max()),
        mean=float(wide.mean()),
        std=float(wide.std()),
        zeros=float((values == 0).mean()),
        channels=_channels(values, depthwise),
    )


def _channels(values: npt.NDArray[np.float32], depthwise: bool) -> npt.NDArray[np.float32] | None:
    if values.ndim < 2:
        return None
    if depthwise:  # (height, width, channels, multiplier): an output for each of the last two
        rows = values.reshape(-1, values.shape[-2] * values.shape[-1])
    else:
        rows = values.reshape(-1, values.shape[-1])
    ranges: npt.NDArray[np.float32] = np.stack([rows.min(axis=0), rows.max(axis=0)], axis=1)
    return ranges
