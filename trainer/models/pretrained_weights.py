"""Published and local weights for a backbone: downloaded, checked, and adapted to the contract's scaling.

Only arrays are read, into a network that is built here: no configuration in a file is followed, and no code of it is
run.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ..backbones import BACKBONES, BUNDLED, IMAGENET, MAX_WEIGHT_BYTES, Backbone, check_weight_files, weight_files
from ..config import TrainingConfig
from ..errors import TrainingError
from ..keras_inspection.archive import read_config
from .efficientnet_lite import load_bundled_weights

_TIMEOUT_S = 30
#: The "variance" in the normalization layer of keras.applications' EfficientNet with published weights. In fact these
#: are standard deviations of the channels in 0..1. The network divides by their roots twice, in two layers.
_IMAGENET_STD = (0.229, 0.224, 0.225)


def load_backbone_weights(network: Any, config: TrainingConfig, input_shape: tuple[int, ...]) -> None:
    """Give a backbone the weights that `config.weights` names.

    Keras downloads `imagenet` into its cache, and `bundled` comes from a package. A file is the `.keras` of an earlier
    training here, or one that keras.applications reads or saves (`.keras`, `.weights.h5`, `.h5`); a folder is a run.

    Raises:
        TrainingError: no network, no such file, a damaged file, or weights of another network or width.
    """
    backbone = BACKBONES[config.architecture]
    if config.weights == BUNDLED:
        load_bundled_weights(network)
        return
    if config.weights == IMAGENET:
        reference = _download_reference(backbone, config, input_shape)
    else:
        check_weight_files(config.weights)
        path = weight_files(config.weights)[0]
        if layers := _layers_of_own_model(path, config.architecture):
            if not any(layer.get("class_name") == "BatchNormalization" for layer in layers):
                raise TrainingError(
                    f"{path}: `quantization_aware` folded its batch normalizations away; name a run that was trained "
                    "without it"
                )
            read_weights(network, path, config)
            _check_finite(network, config)
            return
        if not backbone.builder:
            raise TrainingError(f"{path}: no run of {config.architecture}; name one, or take `weights={BUNDLED}`")
        reference = _build_reference(backbone, config.alpha, (*input_shape[:2], 3), None)
        read_weights(reference, path, config)
    _transplant(reference, network, backbone)
    _check_finite(network, config)


def _check_finite(network: Any, config: TrainingConfig) -> None:
    for layer in network.layers:
        if not all(np.isfinite(values).all() for values in layer.get_weights()):
            raise TrainingError(f"{config.weights}: weights of {layer.name} are no numbers (NaN or infinite)")


def _build_reference(backbone: Backbone, alpha: float, input_shape: tuple[int, ...], weights: str | None) -> Any:
    """The network as keras.applications builds it, for colour images."""
    options: dict[str, Any] = {"alpha": alpha} if backbone.has_width else {}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # about image sizes without weights of their own: those of another size are used
        build = getattr(keras.applications, backbone.builder)
        return build(input_shape=input_shape, include_top=False, weights=weights, **options)


def _download_reference(backbone: Backbone, config: TrainingConfig, input_shape: tuple[int, ...]) -> Any:
    try:
        with _download_settings():
            return _build_reference(backbone, config.alpha, (*input_shape[:2], 3), IMAGENET)
    except Exception as error:  # Keras raises plain Exceptions here
        raise TrainingError(
            f"imagenet weights of {config.architecture}: cannot be downloaded: {_reason(error)}; download the file "
            "elsewhere and name it with `weights=FILE`, or train from nothing with `weights=none`"
        ) from error


@contextlib.contextmanager
def _download_settings() -> Iterator[None]:
    """A time limit, and progress on standard error: Keras waits for ever and writes to standard output."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _layers_of_own_model(path: Path, architecture: str) -> list[dict[str, Any]]:
    """The layers, as described in the file, of a model trained here on the contract's scaling; empty for other files.

    Such a model has the name of its architecture.
    """
    if path.suffix != ".keras":
        return []
    described = read_config(path, TrainingError, cure="name another file", max_unpacked_bytes=MAX_WEIGHT_BYTES)
    config = described.get("config") if isinstance(described, dict) else None
    if not isinstance(config, dict) or config.get("name") != architecture:
        return []
    found = config.get("layers")
    return [layer for layer in found if isinstance(layer, dict)] if isinstance(found, list) else []


def read_weights(model: Any, path: Path, config: TrainingConfig) -> None:
    """Give a model all weights of a file.

    Raises:
        TrainingError: it is damaged, or belongs to another network or width; the model may then have some of them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about layers that have no weights
            model.load_weights(str(path))
    except Exception as error:  # h5py, zipfile and Keras each raise their own
        width = f" of alpha {config.alpha}" if BACKBONES[config.architecture].has_width else ""
        raise TrainingError(
            f"{path}: no weights of {config.architecture}{width}: {_reason(error)}; expected the backbone as "
            "keras.applications saves it (a file without the top, where it is an .h5), or a run of this "
            "`architecture`, `alpha` and `colour`"
        ) from error


def _reason(error: Exception) -> str:
    """The reason in one line; where Keras lists layers, the first of them."""
    text = " ".join(str(error).split()) or type(error).__name__
    first = re.search(
        r"Example error message for object <\S+ name=([^,]+),.*?>: (.*?)(?: Target variable|List of)", text
    )
    if first:
        text = f"layer {first[1]}: {first[2].strip().rstrip('.')}"
    return text[:300]


def _transplant(reference: Any, network: Any, backbone: Backbone) -> None:
    """Copy the weights of keras.applications' network into ours, whose input is scaled differently.

    Let z be the contract's input and y = a z + b the input of the reference's stem, channel by channel. Then a is
    multiplied into the stem's kernel k, and the sum of k b is subtracted from the moving mean of the normalization that
    follows. This is the same function except at the edges, where the stem's padding now stands for the contract's mean
    pixel.
    """
    for layer in network.layers:
        if layer.weights and layer.name != backbone.stem:
            layer.set_weights(reference.get_layer(layer.name).get_weights())
    slope, offset = _input_scaling(reference)
    slope, offset = slope * backbone.std, slope * backbone.mean + offset
    kernel = reference.get_layer(backbone.stem).get_weights()[0].astype(np.float64)
    shift = (kernel * offset[:, np.newaxis]).sum(axis=(0, 1, 2))
    kernel = kernel * slope[:, np.newaxis]
    stem = network.get_layer(backbone.stem)
    if stem.get_weights()[0].shape[2] == 1:
        kernel = kernel.sum(axis=2, keepdims=True)
    stem.set_weights([kernel.astype(np.float32)])
    norm = network.get_layer(backbone.stem_norm)
    norm.moving_mean.assign(np.asarray(norm.moving_mean.value) - shift)


def _input_scaling(reference: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The reference's scaling of a pixel for its first convolution: slope and offset, each of shape (3,)."""
    slope, offset = np.ones(3), np.zeros(3)
    rescalings, missing = 0, 1.0
    for layer in reference.layers:
        if isinstance(layer, keras.layers.Rescaling):
            rescalings += 1
            slope, offset = slope * np.asarray(layer.scale), offset * np.asarray(layer.scale) + np.asarray(layer.offset)
        if isinstance(layer, keras.layers.Normalization):
            mean, variance = (np.asarray(w.value, np.float64) for w in (layer.adapt_mean, layer.adapt_variance))
            std = np.sqrt(np.maximum(variance, keras.config.epsilon()))
            slope, offset = slope / std, (offset - mean) / std
            # Keras adds a second scaling layer only if it has downloaded the weights itself.
            missing = std if np.allclose(variance, _IMAGENET_STD, atol=1e-4) else missing
    if not rescalings:  # MobileNetV2 expects its caller to scale
        return np.full(3, 1 / 127.5), np.full(3, -1.0)
    return (slope / missing, offset / missing) if rescalings == 1 else (slope, offset)
