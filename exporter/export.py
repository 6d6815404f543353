"""The one-way story: run -> files -> figures -> gates -> published, or rejected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runtime import read_model
from trainer.data.run_folder import RunFolder
from trainer.plots.decision_boundary import BOUNDARY

from .accuracy import score_model
from .artifacts.c_source import C_FILES, write_c_source
from .candidate import Candidate
from .candidate_builder import Attempt, CandidateBuilder
from .converter import convert
from .decision_boundary import draw_boundary
from .edgetpu import summarise
from .errors import ExportError
from .evaluated_model import EvaluatedModel, measure
from .gates import Limits
from .keras_loading import load_model
from .operator_support import DEFAULT_TARGET, runnable_library
from .publish import final_names, publish, staging
from .recipe import Recipe
from .recovery.search import RecoverySearch
from .report.report import Settings, make_report, make_timings
from .report.write import DOCUMENTS, write_documents
from .representative_dataset import Calibration, prepare_calibration
from .rgb_input import black_and_white, grey_inside, taking_rgb

DEFAULT_RECIPES = (Recipe.float32(), Recipe.int8())
DEFAULT_LIMITS = Limits()
DEFAULT_CALIBRATION_SAMPLES = 500


@dataclass(frozen=True)
class Exported:
    """What an export gives.

    Attributes:
        report: what `report.json` holds.
        timings: what `timings.json` holds: ms a call on this machine, by file.
        failures: one line for each gate that a model did not pass.
        files: where everything lies.
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
    out: Path,
    recipes: Sequence[Recipe] = DEFAULT_RECIPES,
    *,
    limits: Limits = DEFAULT_LIMITS,
    target: str = DEFAULT_TARGET,
    edgetpu: bool = False,
    rgb_input: bool = False,
    c_array: bool = False,
    selftest: bool = True,
    calibration_samples: int = DEFAULT_CALIBRATION_SAMPLES,
    calibration_seed: int | None = None,
    false_accept_rate: float | None = None,
    repair: bool = False,
    command: str = "",
    say: Callable[[str], None] = lambda _line: None,
) -> Exported:
    """Convert a trained run, measure every file on its test split, and publish what passes.

    The float32 model is the reference: it is always made, first, and no gate is asked of it unless it is all that
    was wanted. If a model fails a gate, none is published under its final name: what was made is left as
    `NAME.rejected.tflite`, and models of an earlier export stay as they are. The report is written either way.

    Args:
        run: what the trainer wrote, from `read_run`; or a model of one's own, from `any_model.gather`.
        out: folder for the files and the report.
        recipes: what to make, at least one.
        limits: the gates.
        target: the interpreter of the device, of `preflight.TARGETS`. Every operator is checked against it, and it
            does the measuring where it is installed.
        edgetpu: report where each operator would run on a Coral.
        rgb_input: put the conversion to grey inside the graph; see `rgb_input`.
        c_array: also write the first of `recipes` that is not float32 (else float32) as C++ source; see `c_array`.
        selftest: let each file carry up to three training images, 32 pixels a side at most, for a device to check
            itself with.
        calibration_samples: training images that the quantizer sees, at least 1.
        calibration_seed: of the choice of these; the run's own without it.
        false_accept_rate: of the wrong answers, the share that a device may give all the same, 0 to 1; a threshold for
            it is fitted on validation images. Without it a device always answers.
        repair: where int8 fails a gate on validation images, try the known ways to mend it, and take the first that
            passes them there.
        command: the command that makes the same files again, for the report; empty where there is none.
        say: called with a line for each step.

    Raises:
        RunError, ExportError: the run cannot be converted or measured, its images have changed, they do not
            suit calibration, or the target lacks an operator.
        OSError: `out` cannot be written.
    """
    library, unproved = runnable_library(target)
    unfitted = _without_validation(run, false_accept_rate, repair)
    seed = run.contract.provenance.seed if calibration_seed is None else calibration_seed
    run, calibration, model = _prepare(run, rgb_input, calibration_samples, seed)
    converter = partial(convert, model, contract=run.contract, calibration=calibration.pixels)
    plan = _plan(recipes)
    mend = RecoverySearch(model, calibration.pixels, limits, plan) if repair else None
    measured: list[EvaluatedModel] = []
    attempts: list[Attempt] = []
    with staging(out) as staged:
        golden = calibration.pixels if selftest else None
        workshop = CandidateBuilder(run, staged, library, target, edgetpu, false_accept_rate, golden)
        for recipe in plan:
            say(f"converting to {recipe.name}" + f" with {len(calibration.pixels)} images" * recipe.needs_calibration)
            attempt = workshop.attempt(converter, model, recipe)
            if mend is not None:
                attempt = mend(attempt, attempts[0], workshop, say) if attempts else attempt
            attempts.append(attempt)
            made = attempt.made
            _tell(made, say)
            scored = score_model(workshop.write(made), run, library=library)
            asked = limits if measured or len(plan) == 1 else None
            measured.append(measure(made, scored, measured[0] if measured else None, asked))
        say("writing the report")
        models = final_names(measured)
        warnings = (*calibration.warnings, *filter(None, (unproved, unfitted)))
        settings = Settings(limits, target, calibration.figures, warnings, false_accept_rate, command)
        report, timings = make_report(run, settings, models), make_timings(models)
        boundary = draw_boundary(run, [staged / model.file_name for model in measured], library)
        write_documents(staged, run, measured, report, timings, boundary)
        failures = tuple(f"{m.recipe.name} {gate.describe()}" for m in measured for gate in m.failed)
        sources = C_FILES if c_array and not failures else ()
        if sources:
            write_c_source(staged, read_model(_for_microcontrollers(measured, recipes).content))
        documents = (*sources, *((BOUNDARY,) if boundary is not None else ()), *DOCUMENTS)
        files = publish(staged, out, models, documents)
        if boundary is None:  # an earlier export's would show another model
            (out / BOUNDARY).unlink(missing_ok=True)
        return Exported(report, timings, failures, files)


def _prepare(run: RunFolder, rgb_input: bool, samples: int, seed: int) -> tuple[RunFolder, Calibration, Any]:
    """The run as it is exported, its calibration, and its Keras model."""
    taken = taking_rgb(run) if rgb_input else run
    calibration = prepare_calibration(taken, samples, seed)
    model = load_model(run.model_path, run.contract)
    if rgb_input:
        return taken, black_and_white(calibration), grey_inside(model)
    return taken, calibration, model


def _for_microcontrollers(measured: Sequence[EvaluatedModel], recipes: Sequence[Recipe]) -> EvaluatedModel:
    wanted = next((recipe for recipe in recipes if recipe != Recipe.float32()), Recipe.float32())
    return next(model for model in measured if model.recipe == wanted)


def _without_validation(run: RunFolder, false_accept_rate: float | None, repair: bool) -> str:
    """A warning where there is nothing to fit a temperature on."""
    if len(run.splits["validation"]):
        return ""
    if false_accept_rate is not None or repair:
        option = "--repair is judged" if repair else "--false-accept-rate is fitted"
        raise ExportError(f"{option} on validation images, and there are none; name them by --val")
    return "no validation images: the scores have no temperature, they are as the model gives them; see --val"


def _plan(recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """The reference first, then each of the others once."""
    reference = Recipe.float32()
    return (reference, *(recipe for recipe in dict.fromkeys(recipes) if recipe != reference))


def _tell(made: Candidate, say: Callable[[str], None]) -> None:
    for line in made.notes:
        say(line)
    if made.edgetpu:
        say(f"{made.recipe.name}: {summarise(made.edgetpu)}")
