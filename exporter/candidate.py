"""From a recipe to a sealed file that the target knows every operator of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from runtime import Confidence, Contract, read_model, seal
from runtime.model_file import reseal
from trainer.keras_inspection.graph import layer_names

from .artifacts.tflite_metadata import with_metadata
from .edgetpu import Mapping, map_operators
from .operator_support import CRASHES_ON_ARM, Lack, crashes_on_arm, lacking, refuse, released
from .operators import Placed, placed_operators
from .recipe import Recipe
from .selftest import golden_files

#: Makes the FlatBuffer of a recipe; `per_tensor_dense` as for `conversion.convert`.
Converter = Callable[..., bytes]
_NOT_FITTED = Confidence()


@dataclass(frozen=True)
class RecoveryAttempt:
    """A way of making a model, and how that fared on validation images.

    Attributes:
        way: what was done, in words; "as it is" for the ordinary one.
        accuracy: on validation images; of multilabel the mean average precision.
        drop: of that, against float32.
        bytes: of the file.
        passed: whether it passed every gate.
    """

    way: str
    accuracy: float
    drop: float
    bytes: int
    passed: bool


@dataclass(frozen=True)
class Candidate:
    """A file that is not measured yet.

    Attributes:
        recipe: what was made.
        content: the whole file, sealed.
        notes: what was done beside the recipe, a line each.
        edgetpu: where each operator would run on a Coral; empty unless asked for.
        confidence: in its contract.
        repair: the ways that were tried, the last of them the one that it was made in if that passed.
    """

    recipe: Recipe
    content: bytes
    notes: tuple[str, ...] = ()
    edgetpu: tuple[Mapping, ...] = ()
    confidence: Confidence = _NOT_FITTED
    repair: tuple[RecoveryAttempt, ...] = ()

    def with_confidence(self, confidence: Confidence, notes: Sequence[str] = ()) -> Candidate:
        """The same file with a temperature and a threshold in its contract."""
        contract = replace(read_model(self.content).contract, confidence=confidence)
        content = reseal(self.content, contract)
        return replace(self, content=content, notes=(*self.notes, *notes), confidence=confidence)


def make(
    convert: Converter,
    model: Any,
    recipe: Recipe,
    contract: Contract,
    target: str,
    edgetpu: bool,
    golden: npt.NDArray[Any] | None = None,
) -> Candidate:
    """Convert, check every operator against the target, add metadata and a self-test, and seal.

    Where the target lacks the operator of dense weights with a scale for each channel, or dies of it, the model is
    converted again with one scale, and a note says so.

    Args:
        convert: called with the recipe.
        model: the Keras model, for the names of its layers.
        golden: images or vectors that its self-test is made of, as in `calibration.Calibration`; none without.

    Raises:
        ExportError: it cannot be converted, the target lacks an operator, or no interpreter answers.
    """
    layers, notes = layer_names(model), []
    content = convert(recipe)
    lacks = lacking(placed_operators(content, layers), target)
    curable = [lack for lack in lacks if lack.is_per_channel_dense]
    deadly = next(filter(crashes_on_arm, placed_operators(content, layers)), None) if target in CRASHES_ON_ARM else None
    if curable or deadly:
        content = convert(recipe, per_tensor_dense=True)
        lacks = lacking(placed_operators(content, layers), target)
        notes += [_cured(recipe, lack, target) for lack in curable[:1]]
        notes += [_spared(recipe, deadly, target)] if deadly else []
    refuse(lacks, recipe.name, target)
    mappings = tuple(map_operators(placed_operators(content, layers))) if edgetpu else ()
    content = with_metadata(content, contract)
    files = {} if golden is None else golden_files(content, contract, recipe, golden)
    return Candidate(recipe, seal(content, contract, files), tuple(notes), mappings)


def _spared(recipe: Recipe, dense: Placed, target: str) -> str:
    return (
        f"{recipe.name}: {dense.use} without a bias, of which {released(target)} dies on ARM, was avoided: the weights "
        f"of dense layers have one scale each instead of one a channel (layer {dense.layer!r} and what is like it)"
    )


def _cured(recipe: Recipe, lack: Lack, target: str) -> str:
    return (
        f"{recipe.name}: {lack.use}, which {released(target)} lacks, was avoided: the weights of dense layers have "
        f"one scale each instead of one a channel (layer {lack.layer!r} and what is like it)"
    )
