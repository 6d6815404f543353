"""Cross-layer equalisation: the channels of an activation are scaled to one range, and the next layer undoes it.

All channels of an activation share one scale in 8 bits, so a channel a thousand times smaller than another is rounded
to zero. If there are only layers such as ReLU and pooling between two layers, a channel can be divided by any positive
number when the weights that read it are multiplied by the same number. The float scores stay the same, and the integer
scores come closer to them.

Source: M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, Data-free quantization through weight equalization and
bias correction, ICCV 2019. That method balances the weight ranges of both layers. Here weights already have a scale for
each output channel, but the channels of an activation share one, so the first range is the activation's, as in G. Xiao
et al., SmoothQuant, ICML 2023. The factors are powers of two, so that scaling rounds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from trainer.keras_inspection.graph import all_calls, graph_of
from trainer.keras_inspection.outputs import predict_array

Values = npt.NDArray[np.float32]

_PASSES = 2
#: A channel's range counts as at least this share of the greatest range of its tensor.
_LEAST_SHARE = 1e-7
#: The most by which a score may differ after equalisation.
_SCORE_TOLERANCE = 1e-3
#: Layers whose output channels are scaled, in the same order, if their input channels are.
_TRANSPARENT = (
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.Flatten,
)


@dataclass(frozen=True)
class Pair:
    """Two layers, and the activation between them whose channels can be scaled.

    Attributes:
        first: the layer that writes the activation.
        second: the only layer that reads it.
        activation: the Keras tensor behind the activation function.
    """

    first: Any
    second: Any
    activation: Any


def equalize(model: Any, images: Values) -> int:
    """Equalise a model in place.

    Args:
        model: from `keras_loading.load_model`.
        images: as the model takes them, shape (n, height, width, channels).

    Returns:
        How many activations were equalised; with 0 the model is unchanged.

    Raises:
        ValueError: the scores have changed, so the model cannot be used.
    """
    network = _classifier_graph(model)
    pairs = list(_pairs(network)) if network is not None else []
    if not pairs:
        return 0
    before = predict_array(network, images)
    found = predict_array(keras.Model(network.inputs, [pair.activation for pair in pairs]), images)
    ranges = [_channel_ranges(activation) for activation in (found if len(pairs) > 1 else [found])]
    changed = set()
    for _ in range(_PASSES):  # a layer's output is scaled after its input, which changes the ranges of its weights
        for place, pair in enumerate(pairs):
            factors = _factors(ranges[place], _reader_ranges(pair.second, len(ranges[place])))
            if (factors != 1).any():
                _scale_outputs(pair.first, 1 / factors)
                _scale_inputs(pair.second, factors)
                ranges[place] = ranges[place] / factors
                changed.add(place)
    if not np.allclose(predict_array(network, images), before, atol=_SCORE_TOLERANCE):
        raise ValueError("the equalised network gives other scores than before")
    return len(changed)


def _classifier_graph(model: Any) -> Any:
    """The graph of layers that takes the image itself; None if the model has none."""
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return graph_of(inner[0] if len(inner) == 1 and len(model.layers) == 2 else model)


def _pairs(network: Any) -> Iterator[Pair]:
    calls = all_calls(network, nested=False)
    uses = Counter(id(call.layer) for call in calls)
    readers = [[reader for reader in calls if place in reader.inputs] for place in range(len(calls))]
    places = {id(call.output): place for place, call in enumerate(calls)}
    outputs = {id(tensor) for tensor in network.outputs}
    for first in calls:
        if not _can_write(first.layer) or uses[id(first.layer)] != 1:
            continue
        written, activation = first, None
        while id(written.output) not in outputs and len(readers[places[id(written.output)]]) == 1:
            (reader,) = readers[places[id(written.output)]]
            if _is_linear_in_scale(reader.layer) and activation is None:
                written = reader
                continue
            activation = written.output if activation is None else activation
            if isinstance(reader.layer, _TRANSPARENT):
                written = reader
                continue
            if _can_read(reader.layer) and uses[id(reader.layer)] == 1:
                yield Pair(first.layer, reader.layer, activation)
            break


def _is_linear_in_scale(layer: Any) -> bool:
    """Whether f(a x) = a f(x) for a > 0, as for ReLU and leaky ReLU without a maximum."""
    if isinstance(layer, layers.ReLU):
        return layer.max_value is None and not layer.threshold
    if isinstance(layer, layers.Activation):
        return _function_name(layer) in ("linear", "relu", "leaky_relu")
    return isinstance(layer, layers.LeakyReLU)


def _function_name(layer: Any) -> str:
    return str(getattr(layer.activation, "__name__", ""))


def _can_write(layer: Any) -> bool:
    if type(layer) is layers.BatchNormalization:
        return bool(layer.scale and layer.center and layer.axis in (-1, 3))
    if type(layer) not in (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense):
        return False
    return _function_name(layer) in ("linear", "relu", "leaky_relu")


def _can_read(layer: Any) -> bool:
    return type(layer) in (layers.Dense, layers.DepthwiseConv2D) or (type(layer) is layers.Conv2D and layer.groups == 1)


def _channel_ranges(activation: Values) -> Values:
    ranges: Values = np.abs(activation).reshape(-1, activation.shape[-1]).max(axis=0)
    return ranges


def _reader_ranges(layer: Any, channels: int) -> Values | None:
    """For each input channel, the largest share of its weights in the range of any output channel.

    None for a layer whose input channels have scales of their own, so that scaling them loses nothing.
    """
    if type(layer) is layers.DepthwiseConv2D:
        return None
    kernel = np.abs(_kernel(layer, channels))
    shares = kernel.max(axis=0) / np.maximum(kernel.max(axis=(0, 1)), np.finfo(np.float32).tiny)
    ranges: Values = shares.max(axis=1)
    return ranges


def _kernel(layer: Any, channels: int) -> Values:
    """The weights as (positions, input channels, outputs); a flattened image has its channels last, too."""
    kernel: Values = np.asarray(layer.kernel)
    return kernel.reshape(-1, channels, kernel.shape[-1])


def _factors(ranges: Values, reading: Values | None) -> Values:
    """The number that each channel is divided by: powers of two around 1."""
    shares = np.maximum(ranges / max(float(ranges.max()), 1e-30), _LEAST_SHARE)
    logs = np.log2(shares)
    if reading is not None:
        logs = (logs - np.log2(np.maximum(reading, _LEAST_SHARE))) / 2
    factors: Values = np.exp2(np.round(logs - np.median(logs))).astype(np.float32)
    factors[ranges == 0] = 1  # a channel that is always 0 here may be used by other images
    return factors


def _scale_outputs(layer: Any, factors: Values) -> None:
    if type(layer) is layers.BatchNormalization:
        layer.gamma.assign(layer.gamma * factors)
        layer.beta.assign(layer.beta * factors)
        return
    kernel = np.asarray(layer.kernel)
    layer.kernel.assign(kernel * factors.reshape(kernel.shape[-2:] if _is_depthwise(layer) else (-1,)))
    if layer.use_bias:
        layer.bias.assign(layer.bias * factors)


def _scale_inputs(layer: Any, factors: Values) -> None:
    kernel = np.asarray(layer.kernel)
    if _is_depthwise(layer):
        layer.kernel.assign(kernel * factors[:, np.newaxis])
    else:
        layer.kernel.assign((_kernel(layer, len(factors)) * factors[:, np.newaxis]).reshape(kernel.shape))


def _is_depthwise(layer: Any) -> bool:
    return type(layer) is layers.DepthwiseConv2D
