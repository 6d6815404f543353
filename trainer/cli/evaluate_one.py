"""What `pocketlens evaluate --index` tells of one sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from runtime import Contract
from runtime.cli.tables import columns
from runtime.errors import UsageError
from runtime.files import shown

from ..evaluation.eval_set import EvaluationSet
from ..plots.predictions import save_probabilities
from .evaluate_plots import pixels_of


def show_one(
    model: Path,
    contract: Contract,
    evaluation_set: EvaluationSet,
    index: int,
    score: Callable[[EvaluationSet], tuple[npt.NDArray[np.float32], str]],
    out: Path | None,
    as_json: bool,
) -> None:
    """Print the scores of one sample; draw them too, where there is a folder for it.

    Args:
        index: of the sample in the data set.
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
        pixels = pixels_of(contract, evaluation_set, index) if contract.input.kind == "image" else None
        title = f"{evaluation_set.name} {name}: {true_label}"
        save_probabilities(picture, pixels, scores[0], contract.labels, _labels_of(evaluation_set, index), title)
    if as_json:
        found = {"model": str(model), "index": index, "name": name, "truth": true_label, "interpreter": interpreter}
        told = {"scores": dict(ranked), "picture": str(picture) if picture else None}
        click.echo(json.dumps(found | told))
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
