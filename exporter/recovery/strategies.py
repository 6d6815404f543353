"""The strategies for an int8 model that loses less, the cheapest for the device first."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import make_preprocessor
from trainer.data.run_folder import RunFolder
from trainer.keras_inspection.graph import layer_names

from ..candidate import Converter
from ..converter import calibrate, convert, quantize
from ..keras_loading import load_model
from ..operator_support import layer_of
from ..recipe import Recipe
from .equalization import equalize
from .sensitivity import measure_sensitivity

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
    run: RunFolder, model: Any, samples: npt.NDArray[np.uint8], recipe: Recipe, allow_int16x8: bool
) -> Iterator[RecoveryStrategy]:
    """The strategies. Each is prepared only when the iterator reaches it.

    Args:
        run: the run of the model.
        model: from `keras_loading.load_model`.
        samples: the representative dataset that the ordinary int8 model was made with.
        recipe: the recipe of that model.
        allow_int16x8: whether int16x8 may take its place.

    Raises:
        ExportError: the converter refuses the model that the sensitivity of layers is measured with.
    """
    contract = run.contract
    equalized = _equalized_model(run, samples)
    if equalized is not None:
        model, count = equalized
        converter = partial(convert, model, contract=contract, samples=samples)
        yield RecoveryStrategy(
            f"equalisation of the channels of {_counted(count, 'activation')}", converter, model, recipe
        )
    yield from _partly_float(run, model, samples, recipe)
    if allow_int16x8:
        converter = partial(convert, model, contract=contract, samples=samples)
        yield RecoveryStrategy("int16x8 in its place: activations of 16 bits", converter, model, Recipe.int16x8())


def _equalized_model(run: RunFolder, samples: npt.NDArray[np.uint8]) -> tuple[Any, int] | None:
    """An equalised copy of the model, and the number of changed activations; None if nothing can be equalised."""
    model = load_model(run.model_path, run.contract)
    try:
        count = equalize(model, make_preprocessor(run.contract.input).scale(samples))
    except ValueError:
        return None
    return (model, count) if count else None


def _partly_float(
    run: RunFolder, model: Any, samples: npt.NDArray[np.uint8], recipe: Recipe
) -> Iterator[RecoveryStrategy]:
    calibrated = calibrate(model, run.contract, samples)
    ranked = measure_sensitivity(calibrated, samples[:_SENSITIVITY_SAMPLES], run.contract.input)
    for count in _FLOAT_COUNTS:
        if count > max(1, len(ranked) // 2):
            return
        nodes = list(dict.fromkeys(node for sensitivity in ranked[:count] for node in sensitivity.nodes))

        def converter(wanted: Recipe, *, per_tensor_dense: bool = False, kept: Collection[str] = nodes) -> bytes:
            return quantize(calibrated, wanted, kept, per_tensor_dense=per_tensor_dense)

        name = f"{_counted(len(nodes), 'operator')} in float32 ({_layers(nodes, model)})"
        yield RecoveryStrategy(name, converter, model, recipe)


def _layers(nodes: Collection[str], model: Any) -> str:
    names = layer_names(model)
    found = list(dict.fromkeys(layer_of(node, names) for node in nodes))
    return ", ".join(found[:_MAX_LAYERS_SHOWN]) + ", ..." * (len(found) > _MAX_LAYERS_SHOWN)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count > 1)}"
