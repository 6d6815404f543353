"""The strategies for an int8 model that loses less, the cheapest for the device first."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import make_preprocessor
from trainer.data.run_folder import RunFolder
from trainer.keras_inspection.graph import layer_names

from ..candidate import Converter
from ..embedding import with_embedding
from ..keras_loading import load_model
from ..model_converter import ModelConverter
from ..operator_support import layer_of
from ..recipe import Recipe
from .equalization import equalize
from .sensitivity import find_sensitivity

#: The number of representative samples that the sensitivity of activations is measured with.
_SENSITIVITY_SAMPLES = 64
#: The numbers of activations to keep in float, in the order of trial. With more than half of them it would no longer be
#: an int8 model.
_FLOAT_COUNTS = (1, 2, 4, 8)
_MAX_LAYERS_SHOWN = 4


@dataclass(frozen=True)
class RecoveryStrategy:
    """A strategy to make the file.

    Attributes:
        name: the strategy in words.
        converter: the function that makes the FlatBuffer of a recipe.
        model: the Keras model to convert.
        recipe: the recipe of the file.
    """

    name: str
    converter: Converter
    model: Any
    recipe: Recipe


def strategies(
    run: RunFolder, ordinary: ModelConverter, samples: npt.NDArray[np.uint8], recipe: Recipe, allow_int16x8: bool
) -> Iterator[RecoveryStrategy]:
    """The strategies. Each is prepared only when the iterator reaches it.

    Args:
        run: the run of the model.
        ordinary: the converter that made the int8 model.
        samples: the representative dataset that it was made with.
        recipe: the recipe of that model.
        allow_int16x8: whether int16x8 may take its place.

    Raises:
        ExportError: the converter refuses the model that the sensitivity of layers is measured with.
    """
    converter = ordinary
    equalized = _equalized_model(run, samples)
    if equalized is not None:
        model, count = equalized
        if run.contract.embedding:
            model = with_embedding(model, run.name)
        converter = ordinary.for_model(model)
        name = f"equalisation of the channels of {_counted(count, 'activation')}"
        yield RecoveryStrategy(name, converter.convert, model, recipe)
    yield from _partly_float(converter, recipe)
    if allow_int16x8:
        name = "int16x8 in its place: activations of 16 bits"
        yield RecoveryStrategy(name, converter.convert, converter.model, Recipe.int16x8())


def _equalized_model(run: RunFolder, samples: npt.NDArray[np.uint8]) -> tuple[Any, int] | None:
    """An equalised copy of the model, and the number of changed activations; None if nothing can be equalised."""
    model = load_model(run.model_path, run.contract)
    try:
        count = equalize(model, make_preprocessor(run.contract.input).scale(samples))
    except ValueError:
        return None
    return (model, count) if count else None


def _partly_float(converter: ModelConverter, recipe: Recipe) -> Iterator[RecoveryStrategy]:
    calibrated = converter.calibrate()
    ranked = find_sensitivity(converter, calibrated, _SENSITIVITY_SAMPLES)
    for count in _FLOAT_COUNTS:
        if count > max(1, len(ranked) // 2):
            return
        nodes = list(dict.fromkeys(node for sensitivity in ranked[:count] for node in sensitivity.nodes))

        def convert(wanted: Recipe, *, per_tensor_dense: bool = False, kept: Collection[str] = nodes) -> bytes:
            return converter.quantize(calibrated, wanted, kept, per_tensor_dense=per_tensor_dense)

        name = f"{_counted(len(nodes), 'operator')} in float32 ({_layers(nodes, converter.model)})"
        yield RecoveryStrategy(name, convert, converter.model, recipe)


def _layers(nodes: Collection[str], model: Any) -> str:
    names = layer_names(model)
    found = list(dict.fromkeys(layer_of(node, names) for node in nodes))
    return ", ".join(found[:_MAX_LAYERS_SHOWN]) + ", ..." * (len(found) > _MAX_LAYERS_SHOWN)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count > 1)}"
