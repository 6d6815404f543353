"""The ways to make an int8 model that loses less, those that cost the device least first."""

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
from ..operators import layer_of
from ..recipe import Recipe
from .equalization import equalize
from .sensitivity import layer_costs

#: So many of the calibration images tell which activations cost most.
_COST_IMAGES = 64
#: So many activations are kept in float, one after the other; from half of them on it is no int8 model any more.
_FLOAT_COUNTS = (1, 2, 4, 8)
_SHOWN_LAYERS = 4


@dataclass(frozen=True)
class Way:
    """One way to make the file.

    Attributes:
        name: what is done, in words.
        converter: as `making.make` takes it.
        model: the Keras model that it converts.
        recipe: what is made.
    """

    name: str
    converter: Converter
    model: Any
    recipe: Recipe


def ways(run: RunFolder, model: Any, pixels: npt.NDArray[np.uint8], recipe: Recipe, wide: bool) -> Iterator[Way]:
    """The ways, each worked out only when it is asked for.

    Args:
        run: the model's.
        model: from `keras_loading.load_model`.
        pixels: the calibration images that the ordinary int8 model was made with.
        recipe: of that.
        wide: whether int16x8 may stand in for it.

    Raises:
        ExportError: the converter refuses what is needed to find the costliest layers.
    """
    contract = run.contract
    changed = _equalised(run, pixels)
    if changed is not None:
        model, count = changed
        converter = partial(convert, model, contract=contract, calibration=pixels)
        yield Way(f"equalisation of the channels of {_times(count, 'activation')}", converter, model, recipe)
    yield from _partly_float(run, model, pixels, recipe)
    if wide:
        converter = partial(convert, model, contract=contract, calibration=pixels)
        yield Way("int16x8 in its place: activations of 16 bits", converter, model, Recipe.int16x8())


def _equalised(run: RunFolder, pixels: npt.NDArray[np.uint8]) -> tuple[Any, int] | None:
    """A model of its own, equalised, and how many activations that changed; None where nothing can be."""
    model = load_model(run.model_path, run.contract)
    try:
        count = equalize(model, make_preprocessor(run.contract.input).scale(pixels))
    except ValueError:
        return None
    return (model, count) if count else None


def _partly_float(run: RunFolder, model: Any, pixels: npt.NDArray[np.uint8], recipe: Recipe) -> Iterator[Way]:
    calibrated = calibrate(model, run.contract, pixels)
    costs = layer_costs(calibrated, pixels[:_COST_IMAGES], run.contract.input)
    for count in _FLOAT_COUNTS:
        if count > max(1, len(costs) // 2):
            return
        nodes = list(dict.fromkeys(node for cost in costs[:count] for node in cost.nodes))

        def converter(wanted: Recipe, *, per_tensor_dense: bool = False, kept: Collection[str] = nodes) -> bytes:
            return quantize(calibrated, wanted, kept, per_tensor_dense=per_tensor_dense)

        yield Way(f"{_times(len(nodes), 'operator')} in float32 ({_layers(nodes, model)})", converter, model, recipe)


def _layers(nodes: Collection[str], model: Any) -> str:
    names = layer_names(model)
    found = list(dict.fromkeys(layer_of(node, names) for node in nodes))
    return ", ".join(found[:_SHOWN_LAYERS]) + ", ..." * (len(found) > _SHOWN_LAYERS)


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"
