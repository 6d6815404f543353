"""Candidates: converted models with their scores on validation images, before they are measured on the test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from runtime import Confidence, Contract, seal
from runtime.model_file import ModelFile
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.score_calibration import choose_decision, decide_from, fit_confidence
from trainer.keras_inspection.graph import layer_names

from .artifacts.tflite_metadata import with_metadata
from .budget.predict import CostPrediction, Predictor
from .edgetpu import OperatorMapping, map_operators
from .operator_support import (
    CRASHES_ON_ARM,
    LackingOperator,
    PlacedOperator,
    crashes_on_arm,
    find_lacking,
    placed_operators,
    refuse_lacking,
    release_of,
)
from .recipe import ExportConfig, Recipe
from .rehearsal import make_rehearsal_member
from .scoring import SplitScorer
from .selftest import make_selftest_member

#: Makes the FlatBuffer of a recipe; takes `per_tensor_dense` as `converter.convert` does.
Converter = Callable[..., bytes]


@dataclass(frozen=True)
class RecoveryAttempt:
    """One attempt to make a model, and its figures on validation images.

    Attributes:
        way: the strategy in words; "as it is" for the ordinary conversion.
        accuracy: on validation images; for the task multilabel the mean average precision.
        drop: the loss of this figure against float32.
        bytes: size of the file.
        passed: whether the file passed every gate.
    """

    way: str
    accuracy: float
    drop: float
    bytes: int
    passed: bool


@dataclass(frozen=True)
class Candidate:
    """A model that may become a published file. Its parts are kept apart, and sealed once.

    Attributes:
        recipe: the recipe of the file.
        flatbuffer: the model, with TFLite metadata.
        contract: the contract, with the confidence that was fitted to this model.
        members: further files for the archive behind the FlatBuffer, by name.
        notes: conversion notes, a line each.
        edgetpu: where each operator would run on a Coral; empty unless that was requested.
        validation: the predictions for validation images, without a temperature unless a decision threshold was
            chosen; None where there are no such images.
        recovery: the attempts to make a model that passes the gates, in order; empty unless recovery was needed.
    """

    recipe: Recipe
    flatbuffer: bytes
    contract: Contract
    members: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    edgetpu: tuple[OperatorMapping, ...] = ()
    validation: Predictions | None = None
    recovery: tuple[RecoveryAttempt, ...] = ()

    @cached_property
    def content(self) -> bytes:
        """The whole file, sealed."""
        return seal(self.flatbuffer, self.contract, self.members)

    @property
    def confidence(self) -> Confidence:
        """Temperature and threshold in the contract."""
        return self.contract.confidence

    @property
    def model_file(self) -> ModelFile:
        """The file in memory."""
        return ModelFile(self.content, self.contract, self.recipe.file_name)


@dataclass(frozen=True)
class CandidateBuilder:
    """Makes candidates for one run.

    Attributes:
        contract: of the run.
        config: how the export is made.
        scorer: scores the splits of the run.
        samples: the representative dataset, from which the self-test of each file is made.
        staged: folder for the sealed files.
        predictor: predicts what a file will cost on a device; None without a device's profile.
    """

    contract: Contract
    config: ExportConfig
    scorer: SplitScorer
    samples: npt.NDArray[Any]
    staged: Path
    predictor: Predictor | None = None

    def build(self, convert: Converter, model: Any, recipe: Recipe) -> Candidate:
        """Convert a model, check every operator against the target, add metadata and a self-test, fit the confidence.

        Args:
            convert: called with the recipe.
            model: the Keras model, for the names of its layers.

        Raises:
            ExportError: the model cannot be converted, the target lacks an operator, no interpreter runs the model,
                or it cannot be scored.
        """
        converted = convert_for_target(convert, layer_names(model), recipe, self.config.target)
        flatbuffer = with_metadata(converted.flatbuffer, self.contract)
        edgetpu = tuple(map_operators(converted.operators)) if self.config.edgetpu else ()
        candidate = Candidate(recipe, flatbuffer, self.contract, notes=converted.notes, edgetpu=edgetpu)
        path = self.scorer.worker.folder / recipe.file_name
        path.write_bytes(candidate.flatbuffer)
        if self.config.selftest:
            members = make_selftest_member(self.scorer.worker, path, self.contract, recipe, self.samples)
            candidate = replace(candidate, members=members)
        if self.contract.embedding:
            members = make_rehearsal_member(self.scorer, path, self.contract, recipe.name)
            candidate = replace(candidate, members={**candidate.members, **members})
        return self._with_confidence(candidate, path)

    def _with_confidence(self, candidate: Candidate, path: Path) -> Candidate:
        """The candidate with its scores on validation images, and the temperature and threshold fitted to them."""
        rule = self.config.threshold
        if not self.scorer.has_samples("validation"):
            if rule is None:
                return candidate
            confidence = decide_from(self.contract.confidence, rule.value, self.contract.task)  # no other is left
            return replace(candidate, contract=replace(self.contract, confidence=confidence))
        predictions = self.scorer.submit(path, "validation", self.contract)()
        name, rate = candidate.recipe.name, self.config.false_accept_rate
        fitted = fit_confidence(predictions, name, rate)
        if rule is not None:
            fitted, predictions = choose_decision(fitted, predictions, name, rule)
        contract = replace(self.contract, confidence=fitted.confidence)
        return replace(candidate, contract=contract, notes=(*candidate.notes, *fitted.notes), validation=predictions)

    def cost_of(self, candidate: Candidate) -> CostPrediction | None:
        """What the file will cost on the device; None without a device's profile."""
        return None if self.predictor is None else self.predictor.predict(candidate.content, candidate.recipe.file_name)

    def path_of(self, candidate: Candidate) -> Path:
        """The path from which the sealed file is published."""
        return self.staged / candidate.recipe.file_name

    def write(self, candidate: Candidate) -> Path:
        """Write the sealed file; its path."""
        path = self.path_of(candidate)
        path.write_bytes(candidate.content)
        return path


class Converted(NamedTuple):
    """The converter's result, and conversion notes, a line each."""

    flatbuffer: bytes
    operators: list[PlacedOperator]
    notes: tuple[str, ...]


def convert_for_target(convert: Converter, layers: frozenset[str], recipe: Recipe, target: str) -> Converted:
    """Convert a model, and check every operator against the target.

    Where the target lacks the operator of dense weights with a scale for each channel, or crashes on it, the model is
    converted again with one scale, and a note says so.

    Args:
        convert: called with the recipe.
        layers: names of the Keras model's layers.

    Raises:
        ExportError: the model cannot be converted, or the target lacks an operator.
    """
    flatbuffer, notes = convert(recipe), list[str]()
    operators = list(placed_operators(flatbuffer, layers))
    curable = [lacking for lacking in find_lacking(operators, target) if lacking.is_per_channel_dense]
    crashing = next(filter(crashes_on_arm, operators), None) if target in CRASHES_ON_ARM else None
    if curable or crashing:
        flatbuffer = convert(recipe, per_tensor_dense=True)
        operators = list(placed_operators(flatbuffer, layers))
        notes += [_lacking_note(recipe, lacking, target) for lacking in curable[:1]]
        notes += [_crash_note(recipe, crashing, target)] if crashing else []
    refuse_lacking(find_lacking(operators, target), recipe.name, target)
    return Converted(flatbuffer, operators, tuple(notes))


def _crash_note(recipe: Recipe, dense: PlacedOperator, target: str) -> str:
    return (
        f"{recipe.name}: {dense.use} without a bias, which crashes {release_of(target)} on ARM, was avoided: the "
        f"weights of dense layers have one scale each instead of one a channel (layer {dense.layer!r} and "
        "similar ones)"
    )


def _lacking_note(recipe: Recipe, lacking: LackingOperator, target: str) -> str:
    return (
        f"{recipe.name}: {lacking.use}, which {release_of(target)} lacks, was avoided: the weights of dense layers "
        f"have one scale each instead of one a channel (layer {lacking.layer!r} and similar ones)"
    )
