"""The story of an export: run -> candidates -> scores -> figures -> gates -> files that are published or rejected."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.child_worker import ChildWorker
from trainer.data.run_folder import BOUNDARY, RunFolder
from trainer.evaluation.decision_threshold import FIXED
from trainer.evaluation.predictions import Places, Predictions
from trainer.evaluation.robustness import Robustness, choose_images
from trainer.evaluation.scoring import ScoringWorker

from .artifacts.c_source import C_FILES, write_c_source
from .budget.predict import Predictor
from .candidate import Candidate, CandidateBuilder
from .decision_boundary import draw_boundary
from .edgetpu import summarize_mapping
from .embedding import EMBEDDING, with_embedding
from .errors import ExportError
from .evaluated_model import evaluate_candidates
from .explanations import explain_mistakes
from .keras_loading import load_model
from .model_converter import ModelConverter, converter_child, loop_note, start_child
from .operator_support import runnable_library
from .output_activation import complete_outputs
from .plausibility import find_doubts
from .publish import final_names, publish, staging
from .recipe import ExportConfig, Recipe
from .recovery.search import RecoverySearch
from .report.report import Settings, make_report, make_timings
from .report.write import DOCUMENTS, write_documents
from .representative_dataset import RepresentativeDataset, prepare_representative_dataset
from .representative_dataset_checks import request_fingerprints
from .rgb_input import span_black_and_white, with_grey_conversion, with_rgb_contract
from .scoring import SplitScorer

DEFAULT_RECIPES = (Recipe.float32(), Recipe.int8())
DEFAULT_CONFIG = ExportConfig()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportResult:
    """What an export gives.

    Attributes:
        report: the content of `report.json`.
        timings: the content of `timings.json`: ms a call on this machine, by file.
        failures: one line for each gate that a model did not pass.
        files: the paths of all files.
    """

    report: dict[str, Any]
    timings: dict[str, Any]
    failures: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate was passed and the files have their final names."""
        return not self.failures


def export(
    run: RunFolder,
    out: Path | str,
    recipes: Sequence[Recipe] = DEFAULT_RECIPES,
    config: ExportConfig = DEFAULT_CONFIG,
    *,
    command: str = "",
    worker: ScoringWorker | None = None,
) -> ExportResult:
    """Convert a trained run, measure every file on its test split, and publish the files if all pass their gates.

    The float32 model is the reference: it is always made, first, and no gate is checked for it unless it is the only
    model. If a model fails a gate, none is published under its final name: the files stay as `NAME.rejected.tflite`,
    and models of an earlier export stay as they are. The report is written either way.

    Args:
        run: from `trainer.data.run_folder.read_run`; or a model of one's own, from `external_model.external_run`.
        out: folder for the files and the report.
        recipes: what to make, at least one.
        config: how to make it.
        command: the command that makes the same files again, for the report; empty where there is none.
        worker: one that runs already, so that its start takes no time here; without it one is started.

    Raises:
        TypeError: an argument of another type.
        RunError, ExportError: the run cannot be converted or measured, its images have changed, they do not suit the
            quantizer, the target lacks an operator, or another export is writing into `out`.
        ProfileError: a latency cannot be predicted, since the device of `budget` has not measured an operator.
        OSError: `out` cannot be written.
    """
    if not isinstance(run, RunFolder):
        raise TypeError(f"run is {run!r}, expected what `read_run` gives")
    for recipe in recipes:
        if not isinstance(recipe, Recipe):
            raise TypeError(f"recipes has {recipe!r}, expected recipes, such as Recipe.of('int8')")
    out = Path(out)
    library, unproved = runnable_library(config.target)
    config.check_task(run.contract.task)
    corrupted = _choose_corrupted(run, config)
    uncalibrated = _check_validation(run, config)
    plan = _plan(recipes)
    predictor = None if config.budget is None else Predictor(config.budget)
    with ExitStack() as stack:
        worker = worker or stack.enter_context(ScoringWorker())
        exported = with_rgb_contract(run) if config.rgb_input else run
        if config.embedding:
            exported = replace(exported, contract=replace(exported.contract, embedding=EMBEDDING))
        scorer = SplitScorer(worker, exported, library)
        child = stack.enter_context(converter_child())
        representative, model, note = _prepare(run, exported, scorer, config, child)
        staged = stack.enter_context(staging(out))
        builder = CandidateBuilder(exported.contract, config, scorer, representative.samples, staged, predictor)
        converted = with_embedding(model, run.name) if config.embedding else model
        converter = ModelConverter(converted, exported.contract, representative.samples, child)
        candidates, predictions = _make_candidates(exported, converter, builder, plan)
        latencies = [scorer.time_calls(builder.path_of(candidate)) for candidate in candidates]
        robustness = _measure_corruptions(builder, candidates, corrupted)
        costs = [builder.cost_of(candidate) for candidate in candidates]
        models = evaluate_candidates(candidates, predictions, latencies, config.limits, robustness, costs)
        models, doubts = find_doubts(models, model, exported, accept=config.accept_low_accuracy)
        _log.info("writing the report")
        named = final_names(models)
        warnings = (
            *run.notes,
            *representative.warnings,
            *filter(None, (unproved, uncalibrated, note, loop_note(model))),
            *doubts,
            *_larger(candidates),
        )
        report = make_report(exported, Settings(config, representative.figures, warnings, command), named)
        timings = make_timings(named)
        boundary = draw_boundary(exported, [builder.path_of(candidate) for candidate in candidates], scorer)
        explained = (
            explain_mistakes(scorer, builder.path_of(candidates[-1]), models[-1].predictions, exported.contract.labels)
            if exported.contract.input.kind == "image"
            else []
        )
        write_documents(staged, exported, models, report, timings, boundary, explained)
        failures = tuple(f"{model.name} {gate.describe()}" for model in models for gate in model.failed)
        sources = _write_sources(staged, candidates, recipes) if config.c_array and not failures else ()
        # Without a boundary, that of an earlier export would show another model.
        pictures, obsolete = ((), (BOUNDARY,)) if boundary is None else ((BOUNDARY,), ())
        files = publish(staged, out, named, (*sources, *pictures, *DOCUMENTS), obsolete)
        return ExportResult(report, timings, failures, files)


def _check_validation(run: RunFolder, config: ExportConfig) -> str:
    """A warning if there are no validation samples to fit a temperature to, else "".

    Raises:
        ExportError: the export cannot do without them.
    """
    if len(run.splits["validation"]):
        return ""
    chosen = config.threshold is not None and config.threshold.kind != FIXED
    if config.false_accept_rate is not None or config.repair or chosen:
        subject = "`repair` is judged" if config.repair else "`false_accept_rate` is fitted"
        subject = "`threshold` is chosen" if chosen else subject
        raise ExportError(f"{subject} on the validation split, which is empty; name images for it by `validation`")
    return f"no validation {run.contract.input.noun}: the scores have no temperature, they are as the model gives them"


def _choose_corrupted(run: RunFolder, config: ExportConfig) -> Places | None:
    """The places in the test split of the images that are measured under corruptions; None to measure none.

    Raises:
        RunError: the model takes features.
    """
    if not config.measures_corruptions:
        return None
    contract, targets = run.contract, run.targets[run.splits["test"]]
    return choose_images(contract, targets, config.corruption_images, contract.provenance.seed)


def _measure_corruptions(
    builder: CandidateBuilder, candidates: Sequence[Candidate], places: Places | None
) -> list[Robustness]:
    """Each candidate's figures under corruptions, for the report alone; none if there are no places."""
    if places is None:
        return []
    seed = candidates[0].contract.provenance.seed
    pending = [builder.scorer.submit_corrupted(builder.path_of(each), places, seed) for each in candidates]
    return [wait() for wait in pending]


def _plan(recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """The reference first, then each of the others once."""
    reference = Recipe.float32()
    return (reference, *(recipe for recipe in dict.fromkeys(recipes) if recipe != reference))


def _prepare(
    run: RunFolder, exported: RunFolder, scorer: SplitScorer, config: ExportConfig, child: ChildWorker
) -> tuple[RepresentativeDataset, Any, str]:
    """The representative dataset, the Keras model that is converted, and what was appended to it, in a line or "".

    Args:
        run: the run as it was trained.
        exported: the same with the contract of the files.
        child: of the converter.
    """
    seed = run.contract.provenance.seed if config.calibration_seed is None else config.calibration_seed
    has_images = run.contract.input.kind == "image" and scorer.has_samples("test")
    test = request_fingerprints(scorer, exported.contract) if has_images else None
    model = load_model(run.model_path, run.contract)
    start_child(child, model)
    representative = prepare_representative_dataset(exported, config.calibration_samples, seed, test)
    if config.rgb_input:
        representative, model = span_black_and_white(representative), with_grey_conversion(model)
    if not run.is_external:  # the trainer checked its outputs
        return representative, model, ""
    completed = complete_outputs(model, representative.samples, exported.contract, config.outputs, run.name)
    return representative, *completed


def _make_candidates(
    run: RunFolder, converter: ModelConverter, builder: CandidateBuilder, plan: Sequence[Recipe]
) -> tuple[list[Candidate], list[Predictions]]:
    """Each recipe's candidate, the reference first, and its predictions for the test split.

    The worker scores the test split with one candidate while the next is converted.
    """
    samples = builder.samples
    search = RecoverySearch(run, converter, samples, builder, plan) if builder.config.repair else None
    candidates: list[Candidate] = []
    pending: list[Callable[[], Predictions]] = []
    for recipe in plan:
        number = f" with {len(samples)} {run.contract.input.noun}" if recipe.needs_representative_dataset else ""
        _log.info("converting to %s%s", recipe.name, number)
        candidate = builder.build(converter.convert, converter.model, recipe)
        if search is not None and candidates:
            candidate = search.recover(candidate, candidates[0])
        _log_notes(candidate)
        candidates.append(candidate)
        pending.append(builder.scorer.submit(builder.write(candidate), "test"))
    decisions = [candidate.confidence.decision for candidate in candidates]
    return candidates, [replace(wait(), decision=d) for wait, d in zip(pending, decisions, strict=True)]


def _larger(candidates: Sequence[Candidate]) -> list[str]:
    """A remark for each file that is larger than float32's, which comes first."""
    reference = len(candidates[0].content)
    return [
        f"{candidate.recipe.name} has {len(candidate.content):,} bytes, more than the {reference:,} of float32: in so "
        "small a network the scales of the tensors and the conversions take more room than the weights save"
        for candidate in candidates[1:]
        if len(candidate.content) > reference
    ]


def _log_notes(candidate: Candidate) -> None:
    for note in candidate.notes:
        _log.info("%s", note)
    if candidate.edgetpu:
        _log.info("%s: %s", candidate.recipe.name, summarize_mapping(candidate.edgetpu))


def _write_sources(staged: Path, candidates: Sequence[Candidate], recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """Write the first model that is not float32 (else float32) as C++ source; the names of the files."""
    wanted = next((recipe for recipe in recipes if recipe != Recipe.float32()), Recipe.float32())
    write_c_source(staged, next(candidate.model_file for candidate in candidates if candidate.recipe == wanted))
    return C_FILES
