"""The page of `pocketlens evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Contract
from runtime.files import shown

from ..data.samples import choose_samples
from ..evaluation.eval_set import EvaluationSet
from ..evaluation.intervals import wilson_interval
from ..evaluation.metrics import Metrics, averages, readable
from ..evaluation.predictions import Places, Predictions
from ..evaluation.robustness import Robustness
from ..plots.image_grid import SMALL_TILES, input_pixels
from .parts import PageTable, PageTile, TileSheet, confusion_matrix, threshold_figures, tile_image, top_confusions
from .robustness_section import robustness_section
from .templating import render


def evaluation_page(
    contract: Contract,
    metrics: Metrics,
    evaluation_set: EvaluationSet,
    predictions: Predictions,
    *,
    model: str,
    interpreter: str,
    seed: int = 0,
    loss: float | None = None,
    unknown: Mapping[str, Any] | None = None,
    curves: str = "",
    robustness: Robustness | None = None,
) -> str:
    """A model's figures on an evaluation set as an HTML page.

    Args:
        predictions: for the chosen samples.
        model: its name.
        interpreter: what ran it.
        seed: of the choice of the samples that are shown.
        loss: the cross-entropy; None where the scores are no probabilities.
        unknown: from `Predictions.below_threshold`.
        curves: what the curves of the training say.
        robustness: the model's figures under corruptions, if they were measured.
    """
    labels, of_labels = contract.labels, metrics.task == "multilabel"
    images = contract.input.kind == "image"
    total = len(predictions.targets)
    matrix = None if of_labels else confusion_matrix(metrics.confusion, labels, shown(model))
    mistakes = predictions.mistakes()
    some = choose_samples(predictions.targets, SMALL_TILES.max_tiles, seed)
    return render(
        "evaluation.html.j2",
        title=f"{shown(model)} on {shown(evaluation_set.name)}, {evaluation_set.split}",
        cards=[_card(metrics, total, loss, interpreter, model)],
        caution=[evaluation_set.caution] if evaluation_set.caution else [],
        curves=curves,
        unknown=unknown,
        total=total,
        matrices=[matrix] if matrix else [],
        confusions=None if of_labels else top_confusions({shown(model): metrics.confusion}, labels, "samples"),
        robustness=robustness
        and robustness_section({shown(model): robustness}, _first_image(contract, evaluation_set)),
        thresholds=threshold_figures(metrics, predictions),
        mistakes=_sheet(contract, evaluation_set, predictions, mistakes, f"{len(mistakes):,} of {total:,} are wrong")
        if images and len(mistakes)
        else None,
        samples=_sheet(contract, evaluation_set, predictions, some, "Samples of each class") if images else None,
        classes=_classes(metrics, labels),
    )


def _card(metrics: Metrics, total: int, loss: float | None, interpreter: str, model: str) -> dict[str, Any]:
    figures = [(readable(name), f"{value:.4f}") for name, value in metrics.headline().items()]
    if "accuracy" in metrics.headline():
        low, high = wilson_interval(round(metrics.accuracy * total), total)
        figures.insert(1, ("95 % interval", f"{low:.4f} to {high:.4f}"))
    found = {"accuracy": metrics.accuracy, **metrics.figures}
    figures += [(readable(name), f"{value:.4f}") for name, value in found.items() if name not in metrics.headline()]
    figures += [] if loss is None else [("loss", f"{loss:.4f}")]
    figures += [("samples", f"{total:,}"), ("run by", interpreter)]
    return {"name": shown(model), "verdict": "", "style": "", "figures": figures, "remarks": []}


def _first_image(contract: Contract, evaluation_set: EvaluationSet) -> npt.NDArray[np.uint8]:
    return input_pixels(evaluation_set.source.sample(int(evaluation_set.chosen[0])), contract.image_input)


def _sheet(
    contract: Contract, evaluation_set: EvaluationSet, predictions: Predictions, places: Places, caption: str
) -> TileSheet:
    tiles, correct = [], predictions.correct
    for place in places[: SMALL_TILES.max_tiles].tolist():
        found = evaluation_set.describe(predictions, place)
        sample = evaluation_set.source.sample(int(evaluation_set.chosen[place]))
        right, predicted = bool(correct[place]), shown(found["answer"])
        lines = [f"{'✓' if right else '✗'} {predicted} {found['score']:.2f}"]
        lines += [] if right else [f"true: {shown(found['truth'])}"]
        tile = tile_image(input_pixels(sample, contract.image_input), f"predicted {predicted}")
        tiles.append(PageTile(tile, [*lines, str(found["name"])], "right" if right else "wrong"))
    more = "; the most confident are shown" if len(places) > SMALL_TILES.max_tiles else ""
    return TileSheet(f"{caption}{more}.", tiles)


def _classes(metrics: Metrics, labels: Sequence[str]) -> PageTable:
    names = list(next(iter(metrics.per_class.values())))
    found = [
        *zip(map(shown, labels), metrics.per_class.values(), strict=True),
        *((f"{name} average", row) for name, row in averages(metrics).items()),
    ]
    rows = (
        [label, *(f"{row[name]:,}" if name == "support" else f"{row[name]:.4f}" for name in names)]
        for label, row in found
    )
    return PageTable.of_texts(["class", *map(readable, names)], rows)
