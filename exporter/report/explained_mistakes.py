"""The surest mistakes of a file for the report: each image beside the map of what its wrong answer comes from."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from runtime.heat_map import beside_its_map
from runtime.occlusion import Box
from trainer.data.run_folder import RunFolder
from trainer.data.samples import label_text
from trainer.evaluation.predictions import Predictions
from trainer.pages.parts import PageFigure
from trainer.plots.image_grid import input_pixels

from ..explanations import ExplainedMistake
from .contact_sheet import sample_name

#: Pixels of the longer side of an image.
_SIDE = 180


def explained_figures(
    run: RunFolder, name: str, predictions: Predictions, mistakes: Sequence[ExplainedMistake]
) -> list[PageFigure]:
    """A figure for each mistake.

    Args:
        name: of the model.
        predictions: its predictions for the test split.
    """
    return [_figure(run, name, predictions, mistake) for mistake in mistakes]


def _figure(run: RunFolder, name: str, predictions: Predictions, mistake: ExplainedMistake) -> PageFigure:
    labels, spec, found = run.contract.labels, run.contract.image_input, mistake.found
    index = int(run.splits["test"][mistake.place])
    region = found["region"]
    framed = None if region is None else Box(*(region[edge] for edge in Box._fields))
    pixels, drops = input_pixels(run.source.sample(index), spec), np.array(found["drops"])
    buffer = io.BytesIO()
    beside_its_map(pixels, drops, framed, found["full_colour"], _SIDE).save(buffer, "PNG", optimize=True)
    predicted = label_text(predictions.predicted[mistake.place], labels, "none")
    true = label_text(run.targets[index], labels, "none")
    change = (
        f"no part changes it by more than {max(found['largest_drop'], found['largest_rise']):.2g}"
        if region is None
        else f"{region['score_without']:.2f} without the framed part"
    )
    return PageFigure(
        f"{sample_name(run, index)} is {true}; {name} says {predicted}. The score of {found['label']} is "
        f"{found['score']:.2f}, and {change}.",
        buffer.getvalue(),
    )
