"""EfficientNet-Lite0 with the weights that a package brings: no download while training, and made for int8.

The network is that of Google's `efficientnet/lite`: EfficientNet-B0 (M. Tan and Q. Le, arXiv:1905.11946) with ReLU6 in
place of swish and without squeeze-and-excitation. Published on ImageNet: 75.1 % in float32, 74.4 % in int8.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from ..backbones import bundled_file
from ..errors import TrainingError
from .torch_file import read_tensors

_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_EPSILON = 1e-3


class _Stage(NamedTuple):
    """Inverted residual blocks (M. Sandler et al., arXiv:1801.04381) of one width; the first has the strides."""

    repeats: int
    kernel: int
    strides: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS, _TOP_FILTERS = 32, 1280


def build_efficientnet_lite0(input_shape: tuple[int, ...]) -> Any:
    """The untrained network without its classifier, from scaled pixels to features.

    Args:
        input_shape: (height, width, channels); the published weights are for 224x224 and three channels.

    Returns:
        A Keras model whose output has the shape (n, rows, columns, 1280), a 32nd of the input's rows and columns.
    """
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(_STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = _normalized(x, "stem_bn", relu=True)
    number = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            x = _block(x, stage, stage.strides if repeat == 0 else 1, f"block{number}")
            number += 1
    x = layers.Conv2D(_TOP_FILTERS, 1, use_bias=False, name="top_conv")(x)
    return keras.Model(inputs, _normalized(x, "top_bn", relu=True), name="efficientnet_lite0")


def _block(x: Any, stage: _Stage, strides: int, name: str) -> Any:
    entry = x
    if stage.expansion != 1:
        x = layers.Conv2D(x.shape[-1] * stage.expansion, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _normalized(x, f"{name}_expand_bn", relu=True)
    x = layers.DepthwiseConv2D(
        stage.kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalized(x, f"{name}_depthwise_bn", relu=True)
    x = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalized(x, f"{name}_project_bn", relu=False)
    has_residual = strides == 1 and entry.shape[-1] == stage.filters
    return layers.Add(name=f"{name}_add")([x, entry]) if has_residual else x


def _normalized(x: Any, name: str, *, relu: bool) -> Any:
    x = layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)
    return layers.ReLU(6.0, name=name.replace("_bn", "_relu"))(x) if relu else x


def load_bundled_weights(network: Any) -> None:
    """Give `build_efficientnet_lite0`'s network the published weights; a grey input gets the sum over the colours.

    Raises:
        TrainingError: the package with the weights is not installed, or its file is another one.
    """
    tensors = _read_bundled()
    for layer in network.layers:
        if not layer.weights:
            continue
        values = _weights_of(layer, tensors)
        if layer.name == "stem_conv" and network.input.shape[-1] == 1:
            values = [values[0].sum(axis=2, keepdims=True)]
        layer.set_weights(values)


def read_imagenet_head() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The published classifier: kernel (1280, 1000) and bias (1000,), for the mean over the network's output.

    Raises:
        TrainingError: as `load_bundled_weights`.
    """
    tensors = _read_bundled()
    return tensors["_fc.weight"].T, tensors["_fc.bias"]


def _read_bundled() -> dict[str, npt.NDArray[Any]]:
    path = bundled_file()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}; install the extra `weights` again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != _SHA256:  # before anything of it is unpickled
        raise TrainingError(
            f"{path}: SHA-256 {found[:12]}..., expected {_SHA256[:12]}...: another file, or a damaged one; "
            "install the extra `weights` again"
        )
    return read_tensors(data)


def _weights_of(layer: Any, tensors: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """A layer's weights in Keras's order: kernels of shape (rows, columns, in, out), as float32."""
    name = _published_name(layer.name)
    if isinstance(layer, layers.BatchNormalization):
        return [tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [tensors[f"{name}.weight"].transpose(axes)]


def _published_name(name: str) -> str:
    """The published name of a layer, such as `_blocks.3._bn1` for `block3_depthwise_bn`."""
    outer = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    if name in outer:
        return outer[name]
    block, part = name.split("_", 1)
    parts = {"expand_bn": "_bn0", "depthwise_bn": "_bn1", "project_bn": "_bn2"}
    return f"_blocks.{block.removeprefix('block')}.{parts.get(part, f'_{part}')}"
