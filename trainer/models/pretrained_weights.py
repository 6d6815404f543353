"""Published and local weights for a body: fetched, checked, and fitted to the contract's scaling.

Only arrays are read, into a network that was built here: no file's configuration is followed, no code of it run.
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

from ..config import TrainingConfig
from ..errors import TrainingError
from ..keras_inspection.archive import read_config
from .backbones import BACKBONES, IMAGENET, MAX_BYTES, Backbone, check_weight_files, weight_files

_TIMEOUT_S = 30
#: What keras.applications' EfficientNet has as the variance of its normalization, where its weights are published
#: ones: standard deviations of the channels in 0..1. It divides by their roots twice, here and in a layer after it.
_IMAGENET_STD = (0.229, 0.224, 0.225)


def load_backbone(network: Any, spec: TrainingConfig, input_shape: tuple[int, ...]) -> None:
    """Give a body the weights that `spec.weights` names.

    `imagenet` is downloaded by Keras into its cache. A file is a `.keras` of an earlier training here, or what
    keras.applications reads or saves (`.keras`, `.weights.h5`, `.h5`); a folder is a run.

    Raises:
        TrainingError: no network, no such file, damaged, or weights of another network or width.
    """
    body = BACKBONES[spec.architecture]
    if spec.weights == IMAGENET:
        reference = _downloaded(body, spec, input_shape)
    else:
        check_weight_files(spec.weights)
        path = weight_files(spec.weights)[0]
        if ours := _of_ours(path, spec.architecture):
            if not any(layer.get("class_name") == "BatchNormalization" for layer in ours):
                raise TrainingError(
                    f"{path}: --quantization-aware folded its batch normalizations away; name a run that was trained "
                    "without it"
                )
            read_into(network, path, spec)
            _check_numbers(network, spec)
            return
        reference = _reference(body, spec.alpha, (*input_shape[:2], 3), None)
        read_into(reference, path, spec)
    _transplant(reference, network, body)
    _check_numbers(network, spec)


def _check_numbers(network: Any, spec: TrainingConfig) -> None:
    for layer in network.layers:
        if not all(np.isfinite(values).all() for values in layer.get_weights()):
            raise TrainingError(f"{spec.weights}: weights of {layer.name} are no numbers (NaN or infinite)")


def _reference(body: Backbone, alpha: float, input_shape: tuple[int, ...], weights: str | None) -> Any:
    """The network as keras.applications has it, to take colour pictures."""
    options: dict[str, Any] = {"alpha": alpha} if body.has_width else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that there are no weights of: those of another size serve
        build = getattr(keras.applications, body.builder)
        return build(input_shape=input_shape, include_top=False, weights=weights, **options)


def _downloaded(body: Backbone, spec: TrainingConfig, input_shape: tuple[int, ...]) -> Any:
    try:
        with _patient_network():
            return _reference(body, spec.alpha, (*input_shape[:2], 3), IMAGENET)
    except Exception as error:  # Keras raises plain Exceptions here
        raise TrainingError(
            f"imagenet weights of {spec.architecture}: cannot be downloaded: {_told(error)}; download the file "
            "elsewhere and name it with --weights FILE, or train from nothing with --weights none"
        ) from error


@contextlib.contextmanager
def _patient_network() -> Iterator[None]:
    """Keras waits for ever, and writes its progress to where results are expected."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _of_ours(path: Path, architecture: str) -> list[dict[str, Any]]:
    """The layers, as they are described, of a model that was trained here, on the contract's scaling: its name says
    so. None of another file."""
    if path.suffix != ".keras":
        return []
    described = read_config(path, TrainingError, cure="name another file", max_unpacked_bytes=MAX_BYTES)
    config = described.get("config") if isinstance(described, dict) else None
    if not isinstance(config, dict) or config.get("name") != architecture:
        return []
    found = config.get("layers")
    return [layer for layer in found if isinstance(layer, dict)] if isinstance(found, list) else []


def read_into(model: Any, path: Path, spec: TrainingConfig) -> None:
    """Give a model the weights of a file, all of them.

    Raises:
        TrainingError: damaged, or of another network or width; the model has then some of them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that have no weights
            model.load_weights(str(path))
    except Exception as error:  # h5py, zipfile and Keras each raise their own
        width = f" of alpha {spec.alpha}" if BACKBONES[spec.architecture].has_width else ""
        raise TrainingError(
            f"{path}: no weights of {spec.architecture}{width}: {_told(error)}; expected the body as "
            "keras.applications saves it (a file without the top, where it is an .h5), or a run of this --arch, "
            "--alpha and --colour"
        ) from error


def _told(error: Exception) -> str:
    """The reason in one line; of Keras's lists of layers the first."""
    text = " ".join(str(error).split()) or type(error).__name__
    listed = re.search(
        r"Example error message for object <\S+ name=([^,]+),.*?>: (.*?)(?: Target variable|List of)", text
    )
    if listed:
        text = f"layer {listed[1]}: {listed[2].strip().rstrip('.')}"
    return text[:300]


def _transplant(reference: Any, network: Any, body: Backbone) -> None:
    """Copy weights from the network of keras.applications into ours, which differs in what its input is.

    With z what the contract gives and y = a z + b what the reference's stem sees, channel by channel, a goes into the
    stem's kernel k, and the sum of k b into the moving mean of the normalization that follows. That is the same
    function but for the stem's padding with zeros, which is now the contract's mean pixel.
    """
    for layer in network.layers:
        if layer.weights and layer.name != body.stem:
            layer.set_weights(reference.get_layer(layer.name).get_weights())
    slope, offset = _expected(reference)
    slope, offset = slope * body.std, slope * body.mean + offset
    kernel = reference.get_layer(body.stem).get_weights()[0].astype(np.float64)
    shift = (kernel * offset[:, np.newaxis]).sum(axis=(0, 1, 2))
    kernel = kernel * slope[:, np.newaxis]
    stem = network.get_layer(body.stem)
    if stem.get_weights()[0].shape[2] == 1:
        kernel = kernel.sum(axis=2, keepdims=True)
    stem.set_weights([kernel.astype(np.float32)])
    norm = network.get_layer(body.stem_norm)
    norm.moving_mean.assign(np.asarray(norm.moving_mean.value) - shift)


def _expected(reference: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What the reference's first convolution is to see of a pixel: slope and offset, each of shape (3,)."""
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
            # A layer that Keras adds only where it has fetched the weights itself.
            missing = std if np.allclose(variance, _IMAGENET_STD, atol=1e-4) else missing
    if not rescalings:  # MobileNetV2 leaves it to its caller
        return np.full(3, 1 / 127.5), np.full(3, -1.0)
    return (slope / missing, offset / missing) if rescalings == 1 else (slope, offset)
