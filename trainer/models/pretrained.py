"""Networks on a backbone: one flat model from scaled pixels to scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
from keras import layers

from runtime import FeaturesInput
from runtime.input_spec import InputSpec

from ..backbones import BACKBONES, LEAST_SIDE, NO_WEIGHTS, Backbone
from ..config import TrainingConfig
from ..errors import TrainingError
from .efficientnet_lite import build_efficientnet_lite0
from .pretrained_weights import load_backbone_weights

#: Name of the layer after the backbone: all layers before it are the backbone's. It is part of the file format.
BACKBONE_POOL = "body_pool"
#: keras.applications' own 0.999 needs thousands of steps to settle, more than a training on a small data set has.
_BATCH_NORM_MOMENTUM = 0.9


def build_pretrained(config: TrainingConfig, input_shape: tuple[int, ...], output: Any) -> Any:
    """A backbone, the mean over its last feature maps, dropout, and the output layer.

    The backbone's own scaling layers are omitted: the contract scales (`with_backbone_scaling`). For a grey input the
    stem's kernels of published weights are summed over the channels.

    Args:
        config: `architecture`, one of `BACKBONES`; `weights`; `alpha`.
        input_shape: (height, width, channels), 32x32 or more.
        output: the last layer, from features of shape (n, features) to scores.

    Raises:
        TrainingError: the image is too small; the weights are not available, or belong to another network.
    """
    backbone = BACKBONES[config.architecture]
    if min(input_shape[:2]) < LEAST_SIDE:
        raise TrainingError(
            f"{config.architecture}: input of {input_shape[0]}x{input_shape[1]}, expected {LEAST_SIDE}x{LEAST_SIDE} or "
            "more; see `image_size`, or take `architecture=cnn`"
        )
    network = build_backbone(backbone, input_shape, config.alpha)
    if config.weights == NO_WEIGHTS:
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = _BATCH_NORM_MOMENTUM
    else:
        load_backbone_weights(network, config, input_shape)
    x = layers.GlobalAveragePooling2D(name=BACKBONE_POOL)(network.output)
    x = layers.Dropout(0.2)(x)
    return keras.Model(network.input, output(x), name=config.architecture)


def build_backbone(backbone: Backbone, input_shape: tuple[int, ...], alpha: float) -> Any:
    """The backbone with untrained weights and without the layers that scale its input."""
    if not backbone.builder:
        return build_efficientnet_lite0(input_shape)
    options: dict[str, Any] = {"alpha": alpha} if backbone.has_width else {}
    if backbone.builder == "MobileNetV3Small":
        options["include_preprocessing"] = False
    build = getattr(keras.applications, backbone.builder)
    network = build(input_shape=input_shape, include_top=False, weights=None, **options)
    if not any(isinstance(layer, layers.Normalization) for layer in network.layers):
        return network
    first = next(layer for layer in network.layers if isinstance(layer, layers.Normalization))
    unscaled = keras.Model(first.output, network.output)
    return keras.models.clone_model(unscaled, input_tensors=keras.Input(input_shape))


def with_backbone_scaling(config: TrainingConfig, spec: InputSpec) -> InputSpec:
    """The contract's input with the scaling of the architecture's backbone; unchanged for other architectures."""
    backbone = BACKBONES.get(config.architecture)
    if backbone is None or isinstance(spec, FeaturesInput):
        return spec
    return replace(spec, mean=(backbone.mean,) * spec.channels, std=(backbone.std,) * spec.channels)


def backbone_layers(model: Any) -> list[Any]:
    """The layers of a model's backbone, from input to output; empty if it has none."""
    names = [layer.name for layer in model.layers]
    return list(model.layers[: names.index(BACKBONE_POOL)]) if BACKBONE_POOL in names else []
