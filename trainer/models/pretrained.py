"""Networks on a body of keras.applications: one flat model from scaled pixels to scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
from keras import layers

from runtime import FeaturesInput
from runtime.input_spec import InputSpec

from ..config import TrainingConfig
from ..errors import TrainingError
from .backbones import BACKBONES, LEAST_SIDE, NO_WEIGHTS, Backbone
from .pretrained_weights import load_backbone

#: The layer after the body: all before it are the body's.
POOL = "body_pool"
#: keras.applications' own 0.999 needs thousands of steps to settle, more than a training of a small set has.
_BATCH_NORM_MOMENTUM = 0.9


def build_pretrained(spec: TrainingConfig, input_shape: tuple[int, ...], output: Any) -> Any:
    """A body, the mean over its last feature maps, dropout, and the output layer.

    The body's own scaling layers are left out: the contract scales (`scaled_for`). A grey input is as good as a
    colour one: the stem's kernels of published weights are summed over the channels.

    Args:
        spec: `architecture`, one of `BACKBONES`; `weights`; `alpha`.
        input_shape: (height, width, channels), 32x32 or more.
        output: the last layer, from features of shape (n, features) to scores.

    Raises:
        TrainingError: the picture is too small; the weights cannot be had, or are of another network.
    """
    body = BACKBONES[spec.architecture]
    if min(input_shape[:2]) < LEAST_SIDE:
        raise TrainingError(
            f"{spec.architecture}: input of {input_shape[0]}x{input_shape[1]}, expected {LEAST_SIDE}x{LEAST_SIDE} or "
            "more; see --image-size, or take --arch cnn"
        )
    network = headless_backbone(body, input_shape, spec.alpha)
    if spec.weights == NO_WEIGHTS:
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = _BATCH_NORM_MOMENTUM
    else:
        load_backbone(network, spec, input_shape)
    x = layers.GlobalAveragePooling2D(name=POOL)(network.output)
    x = layers.Dropout(0.2)(x)
    return keras.Model(network.input, output(x), name=spec.architecture)


def headless_backbone(body: Backbone, input_shape: tuple[int, ...], alpha: float) -> Any:
    """The body with untrained weights and without layers that scale its input."""
    options: dict[str, Any] = {"alpha": alpha} if body.has_width else {}
    if body.builder == "MobileNetV3Small":
        options["include_preprocessing"] = False
    build = getattr(keras.applications, body.builder)
    network = build(input_shape=input_shape, include_top=False, weights=None, **options)
    if not any(isinstance(layer, layers.Normalization) for layer in network.layers):
        return network
    first = next(layer for layer in network.layers if isinstance(layer, layers.Normalization))
    unscaled = keras.Model(first.output, network.output)
    return keras.models.clone_model(unscaled, input_tensors=keras.Input(input_shape))


def scaled_for(spec: TrainingConfig, image: InputSpec) -> InputSpec:
    """The contract's input with the scaling that the architecture's body is built for; as it is without a body."""
    body = BACKBONES.get(spec.architecture)
    if body is None or isinstance(image, FeaturesInput):
        return image
    return replace(image, mean=(body.mean,) * image.channels, std=(body.std,) * image.channels)


def backbone_layers(model: Any) -> list[Any]:
    """The layers of a model's body, from input to output; empty where it has none."""
    names = [layer.name for layer in model.layers]
    return list(model.layers[: names.index(POOL)]) if POOL in names else []
