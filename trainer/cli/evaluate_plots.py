"""The pictures that `pocketlens evaluate` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime import Contract, load_pixels

from ..data.samples import choose_samples
from ..evaluation.eval_set import EvaluationSet
from ..evaluation.metrics import Metrics
from ..evaluation.predictions import Predictions
from ..plots.figure import save_confusions
from ..plots.image_grid import MAX_TILES, save_tiles
from ..plots.metrics import save_binary_curves, save_labels
from ..plots.predictions import answer_tile

#: All that a call may draw.
_NAMES = ("confusion.png", "labels.png", "roc.png", "predictions.png", "mistakes.png")


def pixels_of(contract: Contract, evaluation_set: EvaluationSet, index: int) -> npt.NDArray[np.uint8]:
    """What the network sees of a picture, in red, green, blue."""
    spec = contract.image_input
    pixels = load_pixels(evaluation_set.source.sample(index), spec)
    return pixels[:, :, ::-1] if spec.colour == "bgr" else pixels


def draw(
    out: Path, contract: Contract, metrics: Metrics, evaluation_set: EvaluationSet, predictions: Predictions, model: str
) -> list[Path]:
    """Draw into a folder; what an earlier call drew there and this one does not goes: it shows another model.

    Raises:
        OSError: it cannot be written.
    """
    pictures = _draw_figures(out, contract, metrics, evaluation_set, predictions, model)
    for name in _NAMES:
        if out / name not in pictures:
            (out / name).unlink(missing_ok=True)
    return pictures


def _draw_figures(
    out: Path, contract: Contract, metrics: Metrics, evaluation_set: EvaluationSet, predictions: Predictions, model: str
) -> list[Path]:
    title = f"{model} on {evaluation_set.name}, {evaluation_set.split}: {metrics.headline_text()}"
    if metrics.task == "multilabel":
        pictures = [out / "labels.png"]
        save_labels(pictures[0], metrics, title)
    else:
        pictures = [out / "confusion.png"]
        save_confusions(pictures[0], metrics.confusion, contract.labels, title)
    if metrics.curves:
        pictures.append(out / "roc.png")
        save_binary_curves(pictures[-1], metrics, title)
    return pictures + (
        _draw_predictions(out, contract, evaluation_set, predictions, title) if contract.input.kind == "image" else []
    )


def _draw_predictions(
    out: Path, contract: Contract, evaluation_set: EvaluationSet, predictions: Predictions, title: str
) -> list[Path]:
    mistakes = predictions.mistakes()
    some = choose_samples(evaluation_set.chosen_targets, MAX_TILES, seed=0)
    sheets = {
        "predictions.png": (some, title),
        "mistakes.png": (mistakes, f"{len(mistakes):,} mistakes, the most confident first: {title}"),
    }
    pictures, correct = [], predictions.correct
    for name, (places, told) in sheets.items():
        tiles = [
            answer_tile(
                pixels_of(contract, evaluation_set, int(evaluation_set.chosen[place])),
                evaluation_set.describe(predictions, place),
                bool(correct[place]),
            )
            for place in places[:MAX_TILES].tolist()
        ]
        if tiles:
            pictures.append(out / name)
            save_tiles(pictures[-1], tiles, told)
    return pictures
