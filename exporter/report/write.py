"""Writes the documents of an export: the figures, `report.html`, `MODEL_CARD.md`, and the JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.data.run_folder import BOUNDARY, RunFolder
from trainer.evaluation.comparison import metric_title
from trainer.evaluation.predictions import disagreements
from trainer.plots.calibration import draw_reliability
from trainer.plots.confusion import draw_confusion_pair
from trainer.plots.figure import png_bytes
from trainer.plots.image_grid import LARGE_TILES, Tile, draw_tiles

from ..evaluated_model import EvaluatedModel
from ..publish import DISAGREEMENTS
from .contact_sheet import make_tiles
from .html import ReportFigure, html_page
from .model_card import model_card
from .plots import draw_class_changes, draw_sizes
from .report import write_json

#: In the order of publishing. `report.json` is last: scripts take it as the sign that an export is complete.
DOCUMENTS = ("MODEL_CARD.md", "report.html", "timings.json", "report.json")


def write_documents(
    staged: Path,
    run: RunFolder,
    models: Sequence[EvaluatedModel],
    report: Mapping[str, Any],
    timings: Mapping[str, Any],
    boundary: bytes | None = None,
) -> None:
    """Write `DOCUMENTS` into a folder, with a contact sheet for each model that disagrees with float32.

    Args:
        models: the float32 reference first.
        report: from `make_report`.
        timings: from `make_timings`.
        boundary: a PNG of the decision boundaries, if there is one.
    """
    reference, *others = models
    metric = metric_title(report["metric"])
    figures = [
        ReportFigure(
            f"Size against {metric}",
            f"{metric[0].upper()}{metric[1:]} over the size of each file",
            png_bytes(draw_sizes(report["models"])),
        )
    ]
    if boundary is not None:
        (staged / BOUNDARY).write_bytes(boundary)
        caption = "Answers over the plane of both features, with the test vectors; paler where the score is lower"
        figures.append(ReportFigure("Decision boundary", caption, boundary))
    (staged / DISAGREEMENTS).mkdir()
    with_sheets = run.contract.input.kind == "image"
    for model in others:
        figures += _figures(run, reference, model)
        places = disagreements(reference.predictions, model.predictions)
        if len(places) and with_sheets:
            predictions = {"float32": reference.predictions, model.name: model.predictions}
            sheet = _sheet(make_tiles(run, places, predictions))
            (staged / DISAGREEMENTS / f"{model.name}.png").write_bytes(sheet)
            caption = f"{model.name} and float32 differ on {_test_images(len(places))}"
            figures.append(ReportFigure(_section(model), caption, sheet))
    figures += _mistakes(run, models[-1]) if with_sheets else ()
    (staged / "report.html").write_text(html_page(report, run.contract.to_json(), figures), encoding="utf-8")
    (staged / "MODEL_CARD.md").write_text(model_card(report, run.contract), encoding="utf-8")
    write_json(timings, staged / "timings.json")
    write_json(report, staged / "report.json")


def _section(model: EvaluatedModel) -> str:
    return f"{model.name} beside float32"


def _test_images(count: int) -> str:
    """The number of test images that a contact sheet is about, and which of them it shows."""
    return f"{count:,} test images" + (
        f"; the {LARGE_TILES.max_tiles} surest answers" if count > LARGE_TILES.max_tiles else ", the surest first"
    )


def _sheet(tiles: Sequence[Tile]) -> bytes:
    return png_bytes(draw_tiles(tiles, layout=LARGE_TILES))


def _figures(run: RunFolder, reference: EvaluatedModel, model: EvaluatedModel) -> Iterator[ReportFigure]:
    """The figures of one model beside float32."""
    labels, mode, section = run.contract.labels, model.name, _section(model)
    before, after = reference.comparison, model.comparison
    of_labels = run.contract.task == "multilabel"
    figure = "average precision" if of_labels else "recall"
    if not of_labels:
        yield ReportFigure(
            section,
            "Confusion of the classes, before and after quantization",
            png_bytes(draw_confusion_pair(before.confusion, after.confusion, labels, ("float32", mode))),
        )
    yield ReportFigure(
        section,
        f"What each class's {figure} gained or lost",
        png_bytes(draw_class_changes(before.by_class(), after.by_class(), labels, mode, figure)),
    )
    curves = {
        "float32": before.uncalibrated,
        mode: after.uncalibrated,
        f"{mode}, temperature {model.candidate.confidence.temperature:g}": after.reliability,
    }
    subject = "a label with a given score is present" if of_labels else "an answer with a given score is right"
    yield ReportFigure(
        section,
        f"Reliability: how often {subject}; below the dotted line the scores are too high",
        png_bytes(draw_reliability(curves, of_labels=of_labels)),
    )


def _mistakes(run: RunFolder, model: EvaluatedModel) -> Iterator[ReportFigure]:
    """The test images on which a model is wrong with the highest scores."""
    places = model.predictions.mistakes()
    if len(places):
        sheet = _sheet(make_tiles(run, places, {model.name: model.predictions}))
        yield ReportFigure("Worst confident mistakes", f"{model.name} is wrong on {_test_images(len(places))}", sheet)
