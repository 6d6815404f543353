"""The one-way story: run -> files -> figures -> gate -> published, or rejected."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import seal

from .accuracy import score_model
from .calibration import calibration_pixels, choose_images
from .conversion import convert, load_model
from .recipes import Recipe
from .report import MeasuredModel, make_report, write_report
from .run import Run

REPORT_NAME = "report.json"
DEFAULT_RECIPES = (Recipe.float32(), Recipe.int8())


@dataclass(frozen=True)
class Exported:
    """What an export gives: the report, and where its files lie."""

    report: dict[str, Any]
    files: tuple[Path, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate was passed and the files have their final names."""
        return bool(self.report["passed"])


def export(
    run: Run,
    out: Path,
    recipes: Sequence[Recipe] = DEFAULT_RECIPES,
    *,
    max_drop: float = 0.01,
    calibration_samples: int = 500,
    seed: int | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Exported:
    """Convert a trained run, measure every file on its test split, and publish what passes.

    The float32 model is the reference: it is always made, first. If any other loses more than `max_drop`, none
    is published under its final name: what was made is left as `NAME.rejected.tflite`, and files of an earlier
    export stay as they are.

    Args:
        run: what the trainer wrote, from `read_run`.
        out: folder for the files and `report.json`.
        recipes: what to make.
        max_drop: accuracy that a model may lose against float32, 0 to 1.
        calibration_samples: training images that the quantizer sees, at least 1.
        seed: of the choice of these; the run's own without it.
        say: called with a line for each step.

    Raises:
        RunFolderError, ExportError: the run cannot be converted or measured, or its images have changed.
        OSError: `out` cannot be written.
    """
    seed = run.contract.provenance.seed if seed is None else seed
    chosen = choose_images(run, calibration_samples, seed)
    pixels = calibration_pixels(run, chosen)
    model = load_model(run.model_path, run.contract)
    reference = Recipe.float32()
    measured: list[MeasuredModel] = []
    out.mkdir(parents=True, exist_ok=True)
    # Made beside their place, so that publishing is renaming.
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as folder:
        for recipe in (reference, *(r for r in recipes if r != reference)):
            with_images = f" with {len(chosen)} training images" if recipe.is_quantized else ""
            say(f"converting to {recipe.mode}{with_images}")
            content = seal(convert(model, recipe, run.contract, pixels), run.contract)
            path = Path(folder) / f"{recipe.mode}.tflite"
            path.write_bytes(content)
            scored = score_model(path, run)
            baseline = measured[0].scored if measured else scored
            drop = baseline.accuracy - scored.accuracy
            gate = _gate(recipe, drop, max_drop)
            measured.append(MeasuredModel(recipe, content, scored, drop, scored.agreement(baseline), gate))
        suffix = ".rejected.tflite" if any(m.failed for m in measured) else ".tflite"
        models = {m.recipe.mode + suffix: m for m in measured}
        settings = {
            "max_drop": max_drop,
            "calibration": {"samples": len(chosen), "seed": seed, "split": "train"},
        }
        report = make_report(run, settings, models)
        write_report(report, Path(folder) / REPORT_NAME)
        return Exported(report, _publish(Path(folder), out, models))


def _gate(recipe: Recipe, drop: float, max_drop: float) -> str:
    if not recipe.is_quantized:
        return "reference"
    # A hair of tolerance: 0.97 - 0.96 is a little more than 0.01 in binary.
    return "passed" if drop <= max_drop + 1e-9 else "failed"


def _publish(staged: Path, out: Path, models: dict[str, MeasuredModel]) -> tuple[Path, ...]:
    """Rename the staged files to their final names; the report last, since it speaks of the others."""
    for name, model in models.items():
        (staged / f"{model.recipe.mode}.tflite").replace(out / name)
        if not name.endswith(".rejected.tflite"):
            (out / f"{model.recipe.mode}.rejected.tflite").unlink(missing_ok=True)
    (staged / REPORT_NAME).replace(out / REPORT_NAME)
    return (*(out / name for name in models), out / REPORT_NAME)
