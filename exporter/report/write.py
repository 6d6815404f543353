"""Writes the documents of an export: the figures, `report.html`, `MODEL_CARD.md`, and the JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.data.run_folder import BOUNDARY, RunFolder
from trainer.evaluation.comparison import metric_title
from trainer.evaluation.metrics import compute_metrics
from trainer.evaluation.predictions import disagreements
from trainer.pages.parts import PageFigure, TileSheet, threshold_figures
from trainer.pages.robustness_section import RobustnessSection, robustness_section
from trainer.plots.calibration import draw_reliability
from trainer.plots.figure import png_bytes
from trainer.plots.history import draw_curve_panels
from trainer.plots.image_grid import LARGE_TILES, draw_tiles, input_pixels

from ..decision_boundary import BoundaryPictures
from ..evaluated_model import EvaluatedModel
from ..explanations import ExplainedMistake
from ..publish import DISAGREEMENTS
from .contact_sheet import make_tiles, page_tiles
from .explained_mistakes import explained_figures
from .html import ReportPictures, html_page
from .model_card import model_card
from .plots import draw_sizes
from .report import sample_noun, write_json

#: In the order of publishing. `report.json` is last: scripts take it as the sign that an export is complete.
DOCUMENTS = ("MODEL_CARD.md", "report.html", "timings.json", "report.json")


def write_documents(
    staged: Path,
    run: RunFolder,
    models: Sequence[EvaluatedModel],
    report: Mapping[str, Any],
    timings: Mapping[str, Any],
    boundary: BoundaryPictures | None = None,
    explained: Sequence[ExplainedMistake] = (),
) -> None:
    """Write `DOCUMENTS` into a folder, with a contact sheet for each model that disagrees with float32.

    Args:
        models: the float32 reference first.
        report: from `make_report`.
        timings: from `make_timings`.
        boundary: drawings of the decision boundaries, if there are any.
        explained: mistakes of the last model.
    """
    reference, *others = models
    if boundary is not None:
        (staged / BOUNDARY).write_bytes(boundary.together)
    (staged / DISAGREEMENTS).mkdir()
    sheets = []
    with_images = run.contract.input.kind == "image"
    for model in others:
        places = disagreements(reference.predictions, model.predictions)
        if len(places) and with_images:
            tiles = make_tiles(run, places, {"float32": reference.predictions, model.name: model.predictions})
            (staged / DISAGREEMENTS / f"{model.name}.png").write_bytes(png_bytes(draw_tiles(tiles, layout=LARGE_TILES)))
            caption = f"{model.name} and float32 differ on {_test_images(len(places))}."
            sheets.append(TileSheet(caption, page_tiles(tiles)))
    pictures = ReportPictures(
        sizes=_sizes(report),
        boundary=[] if boundary is None else [PageFigure(*each) for each in boundary.single.items()],
        reliability=[_reliability(run, reference, model) for model in others],
        curves=_curves(run),
        thresholds={model.name: figures for model in models if (figures := _thresholds(run, model))},
        differences=sheets,
        mistakes=_mistakes(run, models[-1]) if with_images else [],
        explanations=explained_figures(run, models[-1].name, models[-1].predictions, explained),
        robustness=_robustness(run, models),
    )
    noun = sample_noun(report)
    differences = [_difference(reference, model, noun) for model in others]
    page = html_page(report, json.loads(run.contract.to_json()), pictures, differences)
    (staged / "report.html").write_text(page, encoding="utf-8")
    (staged / "MODEL_CARD.md").write_text(model_card(report, run.contract, pictures.robustness), encoding="utf-8")
    write_json(timings, staged / "timings.json")
    write_json(report, staged / "report.json")


def _difference(reference: EvaluatedModel, model: EvaluatedModel, noun: str) -> str:
    """How the predictions of one file differ from those of float32, in a sentence."""
    differs = ~model.predictions.matches(reference.predictions.predicted)
    count, total = int(differs.sum()), len(differs)
    if not count:
        return f"{model.name} predicts the same as float32 for each of the {total:,} test {noun}."
    before, after = reference.predictions.correct, model.predictions.correct
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    return (
        f"{model.name} predicts otherwise than float32 for {count:,} of {total:,} test {noun}: {lost:,} are wrong now, "
        f"{won:,} are right now, and {count - lost - won:,} are wrong in both."
    )


def _test_images(count: int) -> str:
    """The number of test images that a sheet is about, and which of them it shows."""
    return f"{count:,} test image{'s' * (count != 1)}" + (
        f"; the {LARGE_TILES.max_tiles} surest answers" if count > LARGE_TILES.max_tiles else ", the surest first"
    )


def _sizes(report: Mapping[str, Any]) -> list[PageFigure]:
    """The metric by size, where so many files are compared that the cards do not show it at once."""
    if len(report["models"]) < 3:
        return []
    metric = metric_title(report["metric"])
    return [
        PageFigure(f"{metric[0].upper()}{metric[1:]} by the size of each file", png_bytes(draw_sizes(report["models"])))
    ]


def _reliability(run: RunFolder, reference: EvaluatedModel, model: EvaluatedModel) -> PageFigure:
    """The reliability of one file's scores beside those of float32."""
    before, after, mode = reference.comparison, model.comparison, model.name
    of_labels, temperature = run.contract.task == "multilabel", model.candidate.confidence.temperature
    curves = {"float32": before.uncalibrated, mode: after.uncalibrated}
    if temperature != 1:
        curves[f"{mode}, temperature {temperature:g}"] = after.reliability
    subject = "a label with a given score is present" if of_labels else "an answer with a given score is right"
    return PageFigure(
        f"{mode}: how often {subject}; below the dotted line the scores are too high. A larger marker stands for more "
        f"{'labels' if of_labels else 'samples'}.",
        png_bytes(draw_reliability(curves, of_labels=of_labels)),
    )


def _thresholds(run: RunFolder, model: EvaluatedModel) -> list[PageFigure]:
    """The curves of the tasks binary and multilabel on the test split, with the file's decision threshold marked."""
    found = model.predictions
    if found.task == "multiclass":
        return []
    metrics = compute_metrics(found.scores, found.targets, run.contract.labels, found.task, found.decision)
    return threshold_figures(metrics, found)


def _curves(run: RunFolder) -> list[PageFigure]:
    """The curves of the training; none for a model that was trained elsewhere, or a run without them."""
    if run.is_external or not (run.folder / "history.csv").is_file():
        return []
    figures = draw_curve_panels(run.history, run.metrics.get("best_epoch"))
    return [PageFigure(f"{name.capitalize()} over the epochs", png_bytes(figure)) for name, figure in figures.items()]


def _robustness(run: RunFolder, models: Sequence[EvaluatedModel]) -> RobustnessSection | None:
    """The section on corruptions, with the first test image as the example; None if they were not measured."""
    found = {model.name: model.robustness for model in models if model.robustness is not None}
    if not found:
        return None
    example = input_pixels(run.source.sample(int(run.splits["test"][0])), run.contract.image_input)
    return robustness_section(found, example)


def _mistakes(run: RunFolder, model: EvaluatedModel) -> list[TileSheet]:
    """The test images on which a model is wrong with the highest scores."""
    places = model.predictions.mistakes()
    if not len(places):
        return []
    tiles = make_tiles(run, places, {model.name: model.predictions})
    return [TileSheet(f"{model.name} is wrong on {_test_images(len(places))}.", page_tiles(tiles))]
