"""The one-way story: run -> files -> figures -> gates -> published, or rejected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import seal

from .accuracy import score_model
from .calibration import calibration_pixels, choose_images
from .conversion import convert, load_model
from .documents import DOCUMENTS, write_documents
from .gates import Limits
from .measured import MeasuredModel, measure
from .publishing import final_names, publish, staging
from .recipes import Recipe
from .report import Settings, make_report, make_timings
from .run import Run

DEFAULT_RECIPES = (Recipe.float32(), Recipe.int8())
DEFAULT_LIMITS = Limits()


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
    run: Run,
    out: Path,
    recipes: Sequence[Recipe] = DEFAULT_RECIPES,
    *,
    limits: Limits = DEFAULT_LIMITS,
    calibration_samples: int = 500,
    calibration_seed: int | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Exported:
    """Convert a trained run, measure every file on its test split, and publish what passes.

    The float32 model is the reference: it is always made, first, and no gate is asked of it unless it is all that
    was wanted. If a model fails a gate, none is published under its final name: what was made is left as
    `NAME.rejected.tflite`, and models of an earlier export stay as they are. The report is written either way.

    Args:
        run: what the trainer wrote, from `read_run`.
        out: folder for the files and the report.
        recipes: what to make, at least one.
        limits: the gates.
        calibration_samples: training images that the quantizer sees, at least 1.
        calibration_seed: of the choice of these; the run's own without it.
        say: called with a line for each step.

    Raises:
        RunFolderError, ExportError: the run cannot be converted or measured, or its images have changed.
        OSError: `out` cannot be written.
    """
    seed = run.contract.provenance.seed if calibration_seed is None else calibration_seed
    chosen = choose_images(run, calibration_samples, seed)
    pixels = calibration_pixels(run, chosen)
    model = load_model(run.model_path, run.contract)
    reference = Recipe.float32()
    plan = (reference, *(recipe for recipe in dict.fromkeys(recipes) if recipe != reference))
    measured: list[MeasuredModel] = []
    with staging(out) as staged:
        for recipe in plan:
            say(f"converting to {recipe.name}" + f" with {len(chosen)} images" * recipe.needs_calibration)
            content = seal(convert(model, recipe, run.contract, pixels), run.contract)
            path = staged / f"{recipe.name}.tflite"
            path.write_bytes(content)
            asked = None if recipe == reference and len(plan) > 1 else limits
            measured.append(measure(recipe, content, score_model(path, run), measured[0] if measured else None, asked))
        say("writing the report")
        models = final_names(measured)
        calibration = {"samples": len(chosen), "seed": seed, "split": "train"}
        settings = Settings(tuple(recipes), limits, calibration)
        report, timings = make_report(run, settings, models), make_timings(models)
        write_documents(staged, run, measured, report, timings)
        failures = tuple(f"{m.recipe.name} {gate.describe()}" for m in measured for gate in m.failed)
        return Exported(report, timings, failures, publish(staged, out, models, DOCUMENTS))
