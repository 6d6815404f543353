"""Converts one Keras model to several files, in a child process where the converter might die of it.

TensorFlow's converter ends its process (SIGSEGV) on some networks, such as int8 for a recurrent layer. A child process
for every network would import TensorFlow a second time: 2 s of processor, where the whole export of a small network
takes 4 s. So networks of nothing but layers that are known to convert in every mode are converted in this process.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from runtime import Contract
from runtime.child_process import ChildError, call_by_name
from runtime.child_worker import ChildWorker
from trainer.keras_inspection.graph import all_calls, layer_names

from .converter import save_for_converter
from .errors import ExportError
from .recipe import Recipe
from .saved_model import TENSORFLOW_ON_CPU, FrozenGraph

_CALLS = "exporter.conversion_calls"
#: Layers and operations of Keras that convert in every mode; `test_model_converter` holds each of them.
SAFE = frozenset(
    """
    Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Cropping2D Dense DepthwiseConv2D
    Dropout Flatten GaussianNoise GetItem GlobalAveragePooling2D GlobalMaxPooling2D InputLayer LeakyReLU
    MaxPooling2D Maximum Multiply Normalization RandomContrast RandomFlip RandomRotation RandomTranslation RandomZoom
    ReLU Rescaling Reshape SeparableConv2D Softmax SpatialDropout2D Subtract TrueDivide UpSampling2D ZeroPadding2D
    """.split()  # noqa: SIM905 - a list of strings would take 40 lines
)
_MAX_NAMED = 3


class ModelConverter:
    """The converter for one Keras model. The model is saved once, when the first file is made of it.

    Args:
        model: from `keras_loading.load_model`.
        contract: of the run.
        samples: those of a `RepresentativeDataset`.
        child: converts the model if it has layers that are not known to be safe; the files lie in its folder.
    """

    def __init__(self, model: Any, contract: Contract, samples: npt.NDArray[Any], child: ChildWorker) -> None:
        self.model = model
        self.layers = sorted(layer_names(model))
        self._contract, self._samples, self._child = contract, samples, child
        self._is_risky = bool(risky_layers(model))
        self._folder: Path | None = None
        self._numbers = itertools.count()

    def for_model(self, model: Any) -> ModelConverter:
        """A converter for another model with the same contract and samples."""
        return ModelConverter(model, self._contract, self._samples, self._child)

    def convert(self, recipe: Recipe, *, per_tensor_dense: bool = False) -> bytes:
        """The file of a recipe; `converter.convert_saved` has the arguments.

        Raises:
            ExportError: the converter refuses the model, or dies of it.
        """
        given = (str(self.folder / "network"), self._contract.to_json(), str(self.folder / "samples.npy"))
        return self._make(recipe, "convert_to_file", *given, [recipe.mode, recipe.io], self.layers, per_tensor_dense)

    def calibrate(self) -> bytes:
        """The model in float32 with the range of each activation written into it.

        Raises:
            ExportError: the converter refuses the model, or dies of it.
        """
        given = (str(self.folder / "network"), self._contract.to_json(), str(self.folder / "samples.npy"))
        return self._make(Recipe.int8(), "calibrate_to_file", *given, self.layers)

    def quantize(
        self, calibrated: bytes, recipe: Recipe, float_nodes: Collection[str], *, per_tensor_dense: bool = False
    ) -> bytes:
        """An int8 model in which some operators stay float32; `converter.quantize` has the arguments.

        Raises:
            ExportError: the converter refuses the model, or dies of it.
        """
        path, nodes = self._write(calibrated), list(float_nodes)
        return self._make(recipe, "quantize_to_file", str(path), [recipe.mode, recipe.io], nodes, per_tensor_dense)

    def measure(self, function: str, calibrated: bytes, count: int) -> Any:
        """What a function of ours finds out about a calibrated model; it is called where the model is converted.

        Args:
            function: as `"package.module:function"`; it takes the paths of the model and of the samples, the contract
                as JSON, and `count`.
            count: so many samples are used, the first ones.

        Raises:
            ExportError: the function raised one, or its process died.
        """
        given = (str(self._write(calibrated)), str(self.folder / "samples.npy"), self._contract.to_json(), count)
        return self._call(Recipe.int8(), function, *given)

    @property
    def folder(self) -> Path:
        """The folder with the saved model and the samples."""
        if self._folder is None:
            folder = self._child.folder / f"model-{len(list(self._child.folder.glob('model-*')))}"
            folder.mkdir()
            save_for_converter(self.model, folder / "network")
            np.save(folder / "samples.npy", self._samples)
            self._folder = folder
        return self._folder

    def _write(self, content: bytes) -> Path:
        path = self.folder / f"{next(self._numbers)}.tflite"
        path.write_bytes(content)
        return path

    def _make(self, recipe: Recipe, function: str, *arguments: Any) -> bytes:
        out = self.folder / f"{next(self._numbers)}.tflite"
        self._call(recipe, f"{_CALLS}:{function}", str(out), *arguments)
        content = out.read_bytes()
        out.unlink()
        return content

    def _call(self, recipe: Recipe, function: str, *arguments: Any) -> Any:
        if not self._is_risky:
            return call_by_name(function, arguments)
        try:
            return self._child.submit(function, *arguments).result()
        except ChildError as error:
            has_died = error.status is not None and error.status < 0
            raise ExportError(_describe_death(self.model, recipe, str(error)) if has_died else str(error)) from error


def converter_child() -> ChildWorker:
    """The child for `ModelConverter`, which is not started before it is needed."""
    return ChildWorker(TENSORFLOW_ON_CPU)


def start_child(child: ChildWorker, model: Any) -> None:
    """Start the child now if the model will be converted in it, so that its imports take no time later."""
    if risky_layers(model):
        child.submit(f"{_CALLS}:import_converter")


def risky_layers(model: Any) -> list[Any]:
    """The layers and operations that are not known to convert in every mode; the model itself if it has no graph."""
    try:
        calls = all_calls(model)
    except ValueError:
        return [model]
    return [call.layer for call in calls if type(call.layer).__name__ not in SAFE]


def loop_note(model: Any) -> str:
    """A line for people if a model computes in a loop, else ""."""
    layers = [part for layer in risky_layers(model) for part in (layer, *_inner_layers(layer))]
    if not any(map(_has_loop, layers)):
        return ""
    return (
        "the files compute in a loop, so that a device refuses them unless it is told to trust them; a recurrent layer "
        "built with unroll=True has none"
    )


def _describe_death(model: Any, recipe: Recipe, end: str) -> str:
    """What the converter died of, as far as it can be told, and what works."""
    risky = risky_layers(model)
    inner = [part for layer in risky for part in (layer, *_inner_layers(layer))]
    loops = [layer for layer in inner if _has_loop(layer)]
    named = list(dict.fromkeys(f"{layer.name!r} ({type(layer).__name__})" for layer in loops or risky))
    where = ", ".join(named[:_MAX_NAMED]) + ", ..." * (len(named) > _MAX_NAMED)
    problem = f"{recipe.name}: TensorFlow's converter broke off ({end})"
    if not loops:
        return (
            f"{problem}; layers beyond the usual ones: {where}; try `mode=dynamic` or `mode=float16`, or replace them"
        )
    return (
        f"{problem} in the loop of the recurrent layer {where}; build it with unroll=True, which keeps the weights, or "
        "give `mode=dynamic` or `mode=float16` instead"
    )


def _has_loop(layer: Any) -> bool:
    """Whether a layer computes step after step in a loop of the graph."""
    if isinstance(layer, FrozenGraph):
        return layer.has_loop
    return isinstance(layer, keras.layers.RNN) and not layer.unroll


def _inner_layers(layer: Any) -> Iterator[Any]:
    """The layers inside a wrapper, such as Bidirectional."""
    flatten = getattr(layer, "_flatten_layers", None)  # Keras has no public way to them
    return iter(()) if flatten is None else flatten(include_self=False)
