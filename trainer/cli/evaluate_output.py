"""What `pocketlens evaluate` draws, and what it prints of its figures and of one sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Contract
from runtime.cli.output import print_json, print_line, print_wrapped
from runtime.cli.tables import columns
from runtime.files import shown

from ..data.samples import choose_samples
from ..evaluation.eval_set import EvaluationSet
from ..evaluation.metrics import Metrics, averages, percent_of_true_class, readable
from ..evaluation.predictions import Predictions
from ..plots.confusion import save_confusions
from ..plots.image_grid import SMALL_TILES, input_pixels, prediction_tile, save_probabilities, save_tiles
from ..plots.metrics import save_labels, save_threshold_curves
from .evaluate_corruptions import CORRUPTION_FILES
from .sample_index import name_in_split

#: The confusion matrix of more classes is not printed; --json and --out have it.
_MAX_PRINTED = 16
#: All pictures that `draw_evaluation` may draw.
_PICTURES = ("confusion.png", "labels.png", "roc.png", "predictions.png", "mistakes.png")


def draw_evaluation(
    out: Path,
    contract: Contract,
    metrics: Metrics,
    evaluation_set: EvaluationSet,
    predictions: Predictions,
    model: str,
    seed: int,
) -> list[Path]:
    """Draw into a folder, and remove what an earlier call drew there and this one does not: it shows another model.

    Args:
        model: its name, for titles.
        seed: of the choice of the samples in `predictions.png`.

    Raises:
        OSError: it cannot be written.
    """
    pictures = _draw_figures(out, contract, metrics, evaluation_set, predictions, model, seed)
    for name in (*_PICTURES, *CORRUPTION_FILES):
        if out / name not in pictures:
            (out / name).unlink(missing_ok=True)
    return pictures


def _draw_figures(
    out: Path,
    contract: Contract,
    metrics: Metrics,
    evaluation_set: EvaluationSet,
    predictions: Predictions,
    model: str,
    seed: int,
) -> list[Path]:
    title = f"{model} on {evaluation_set.name}, {evaluation_set.split}: {metrics.headline_text()}"
    if metrics.task == "multilabel":
        pictures = [out / "labels.png"]
        save_labels(pictures[0], metrics, title)
    else:
        pictures = [out / "confusion.png"]
        save_confusions(pictures[0], metrics.confusion, contract.labels, title)
    if save_threshold_curves(out / "roc.png", metrics, predictions, title):
        pictures.append(out / "roc.png")
    return pictures + (
        _draw_predictions(out, contract, evaluation_set, predictions, title, seed)
        if contract.input.kind == "image"
        else []
    )


def _draw_predictions(
    out: Path, contract: Contract, evaluation_set: EvaluationSet, predictions: Predictions, title: str, seed: int
) -> list[Path]:
    mistakes = predictions.mistakes()
    some = choose_samples(evaluation_set.chosen_targets, SMALL_TILES.max_tiles, seed)
    sheets = {
        "predictions.png": (some, title),
        "mistakes.png": (mistakes, f"{len(mistakes):,} mistakes, the most confident first: {title}"),
    }
    pictures, correct = [], predictions.correct
    for name, (places, heading) in sheets.items():
        tiles = [
            prediction_tile(
                input_pixels(evaluation_set.source.sample(int(evaluation_set.chosen[place])), contract.image_input),
                evaluation_set.describe(predictions, place),
                bool(correct[place]),
            )
            for place in places[: SMALL_TILES.max_tiles].tolist()
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
    """
    evaluation_set = replace(evaluation_set, chosen=np.array([index]))
    scores, interpreter = score(evaluation_set)
    predictions = Predictions(
        scores, evaluation_set.chosen_targets, contract.task, decision=contract.confidence.decision
    )
    found, correct = evaluation_set.describe(predictions, 0), bool(predictions.correct[0])
    name, in_split = str(found["name"]), name_in_split(index, evaluation_set.splits)
    is_unknown = bool((predictions.below_threshold(contract.confidence.threshold) or {}).get("samples"))
    if in_split:
        name = f"{name} ({in_split})"
    answer = f"true label: {found['truth']}, predicted label: {found['answer']}"
    order = np.argsort(-scores[0], kind="stable").tolist()
    ranked = [(contract.labels[place], float(scores[0, place])) for place in order]
    picture = out / f"probabilities-{index}.png" if out else None
    if picture:
        sample, spec = evaluation_set.source.sample(index), contract.input
        pixels = input_pixels(sample, spec) if spec.kind == "image" else None
        title = f"{evaluation_set.name} {name}\n{answer} ({'correct' if correct else 'wrong'})"
        save_probabilities(picture, pixels, dict(ranked), evaluation_set.true_labels(index), title)
    if as_json:
        result = {"model": str(model), **found, "correct": correct, "sample": in_split or None}
        result |= {"unknown": is_unknown, "interpreter": interpreter, "scores": dict(ranked)}
        print_json(result | {"picture": str(picture) if picture else None})
        return
    print_line(f"sample: {name}")
    print_line(f"true label: {shown(found['truth'])}")
    print_line(f"predicted label: {shown(found['answer'])} ({'correct' if correct else 'wrong'})")
    if is_unknown:
        print_line(f"a device answers unknown: no score reaches {contract.confidence.threshold:g}")
    for line in columns([[shown(label), f"{score:.4f}"] for label, score in ranked]):
        print_line(line)
    if picture:
        print_line(f"picture: {shown(picture)}")


def print_figures(
    loss: float | None, metrics: Metrics, labels: Sequence[str], unknown: Mapping[str, Any] | None, total: int
) -> None:
    """Print the figures of the whole split, a table of the classes, the confusion matrix, and the unknown answers.

    Args:
        unknown: from `Predictions.below_threshold`.
        total: samples of the split.
    """
    for line in _figure_lines(loss, metrics, [shown(label) for label in labels]):
        print_line(line)
    if unknown:
        print_line("")
        print_wrapped(
            f"a device answers unknown below {unknown['threshold']:g}: {unknown['samples']:,} of {total:,} "
            f"samples, {unknown['wrong']:,} of which count as wrong above"
        )


def print_rest(curves: str, files: Sequence[Path], page: Path | None) -> None:
    """Print what the curves of the training say, if they say something, and name the files that were written."""
    if curves:
        print_line("")
        print_wrapped(f"learning curves: {curves}")
    for file in files:
        print_line(f"{'picture' if file.suffix == '.png' else 'table'}: {shown(file)}")
    if page:
        print_line(f"page: {shown(page)}")


def _figure_lines(loss: float | None, metrics: Metrics, labels: list[str]) -> list[str]:
    found = {"loss": loss, "accuracy": metrics.accuracy, **metrics.figures}
    lines = [f"{readable(name)}: {value:.4f}" for name, value in found.items() if value is not None]
    names = list(next(iter(metrics.per_class.values())))
    heads = ["class", *map(readable, names)]
    rows = [
        [label, *(f"{row[name]:,}" if name == "support" else f"{row[name]:.4f}" for name in names)]
        for label, row in [
            *zip(labels, metrics.per_class.values(), strict=True),
            *((f"{name} average", row) for name, row in averages(metrics).items()),
        ]
    ]
    lines += ["", *columns([heads, *rows])]
    if metrics.task == "multilabel":
        return lines
    if len(labels) > _MAX_PRINTED:
        return [*lines, "", "confusion: too large to print; --json has it, --out draws it"]
    percent = [[f"{share:.1f}" if share else "" for share in row] for row in percent_of_true_class(metrics.confusion)]
    counts = [[f"{count:,}" if count else "" for count in row] for row in metrics.confusion.tolist()]
    for title, cells in (("confusion (rows: true label)", counts), ("percent of the true label", percent)):
        rows = [[label, *row] for label, row in zip(labels, cells, strict=True)]
        lines += ["", title, *columns([["", *labels], *rows])]
    return lines
