"""What `pocketlens evaluate` draws, and what it prints of one sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from runtime import Contract, load_pixels
from runtime.cli.tables import columns
from runtime.errors import UsageError
from runtime.files import shown

from ..data.samples import choose_samples
from ..evaluation.eval_set import EvaluationSet
from ..evaluation.metrics import Metrics
from ..evaluation.predictions import Predictions
from ..plots.figure import save_confusions
from ..plots.image_grid import MAX_TILES, save_tiles
from ..plots.metrics import save_binary_curves, save_labels
from ..plots.predictions import answer_tile, save_probabilities

#: All pictures that a call may draw.
_PICTURES = ("confusion.png", "labels.png", "roc.png", "predictions.png", "mistakes.png")


def _pixels_of(contract: Contract, evaluation_set: EvaluationSet, index: int) -> npt.NDArray[np.uint8]:
    """An image as the network gets it, its channels in the order red, green, blue."""
    spec = contract.image_input
    pixels = load_pixels(evaluation_set.source.sample(index), spec)
    return pixels[:, :, ::-1] if spec.colour == "bgr" else pixels


def draw_evaluation(
    out: Path, contract: Contract, metrics: Metrics, evaluation_set: EvaluationSet, predictions: Predictions, model: str
) -> list[Path]:
    """Draw into a folder, and remove what an earlier call drew there and this one does not: it shows another model.

    Raises:
        OSError: it cannot be written.
    """
    pictures = _draw_figures(out, contract, metrics, evaluation_set, predictions, model)
    for name in _PICTURES:
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
    for name, (places, heading) in sheets.items():
        tiles = [
            answer_tile(
                _pixels_of(contract, evaluation_set, int(evaluation_set.chosen[place])),
                evaluation_set.describe(predictions, place),
                bool(correct[place]),
            )
            for place in places[:MAX_TILES].tolist()
        ]
        if tiles:
            pictures.append(out / name)
            save_tiles(pictures[-1], tiles, heading)
    return pictures


def show_sample(
    model: Path,
    contract: Contract,
    evaluation_set: EvaluationSet,
    index: int,
    score: Callable[[EvaluationSet], tuple[npt.NDArray[np.float32], str]],
    out: Path | None,
    as_json: bool,
) -> None:
    """Print the scores of one sample, and draw them into a folder if one is given.

    Args:
        index: the index of the sample in the data set.
        score: gives the scores of the chosen samples of an evaluation set, float32 (n, labels), and what ran the model.

    Raises:
        UsageError: the data set has no such sample.
    """
    if not 0 <= index < len(evaluation_set.targets):
        raise UsageError(
            f"--index {index}: {shown(evaluation_set.name)} has the samples 0 to {len(evaluation_set.targets) - 1}"
        )
    scores, interpreter = score(replace(evaluation_set, chosen=np.array([index])))
    true_label, name = evaluation_set.true_label(index), evaluation_set.name_of(index)
    order = np.argsort(-scores[0], kind="stable").tolist()
    ranked = [(contract.labels[place], float(scores[0, place])) for place in order]
    picture = out / f"probabilities-{index}.png" if out else None
    if picture:
        pixels = _pixels_of(contract, evaluation_set, index) if contract.input.kind == "image" else None
        title = f"{evaluation_set.name} {name}: {true_label}"
        save_probabilities(picture, pixels, scores[0], contract.labels, _labels_of(evaluation_set, index), title)
    if as_json:
        found = {"model": str(model), "index": index, "name": name, "truth": true_label, "interpreter": interpreter}
        result = {"scores": dict(ranked), "picture": str(picture) if picture else None}
        click.echo(json.dumps(found | result))
        return
    click.echo(f"{name}: {shown(true_label)}")
    for line in columns([[shown(label), f"{score:.4f}"] for label, score in ranked]):
        click.echo(line)
    if picture:
        click.echo(f"picture: {shown(picture)}")


def _labels_of(evaluation_set: EvaluationSet, index: int) -> list[str]:
    target = evaluation_set.targets[index]
    places = [int(target)] if np.ndim(target) == 0 else np.flatnonzero(target).tolist()
    return [evaluation_set.labels[place] for place in places]
