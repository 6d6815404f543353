"""Test images with their true label and each model's prediction, for contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.data.run_folder import RunFolder
from trainer.data.samples import label_text
from trainer.data.sources import FileSource
from trainer.evaluation.predictions import Places, Predictions
from trainer.pages.parts import PageTile, tile_image
from trainer.plots.figure import shorten
from trainer.plots.image_grid import LARGE_TILES, Tile, input_pixels


def make_tiles(run: RunFolder, places: Places, models: Mapping[str, Predictions]) -> list[Tile]:
    """Tiles for the first places, up to the size of a sheet.

    Args:
        places: the places of images in the test split.
        models: predictions for the test split, by the model's name.
    """
    labels, spec, tiles = run.contract.labels, run.contract.image_input, []
    for place in places[: LARGE_TILES.max_tiles].tolist():
        index = int(run.splits["test"][place])
        lines = [sample_name(run, index), f"true: {_label(run.targets[index], labels, 16)}"]
        for name, predictions in models.items():
            score = "" if predictions.task == "multilabel" else f" {predictions.prediction_scores[place]:.2f}"
            lines.append(f"{name}: {_label(predictions.predicted[place], labels, 12)}{score}")
        tiles.append(Tile(input_pixels(run.source.sample(index), spec), tuple(lines)))
    return tiles


def _label(target: Any, labels: Sequence[str], length: int) -> str:
    """A class, or all labels of a sample, which may take a little more room."""
    return shorten(label_text(target, labels, "none"), length + 6 if np.ndim(target) else length)


def sample_name(run: RunFolder, index: int) -> str:
    """An image of a run for people: its file, or its number."""
    if isinstance(run.source, FileSource):
        return shorten(run.source.paths[index].rpartition("/")[2], 22)
    return f"image {index}"


def page_tiles(tiles: Sequence[Tile]) -> list[PageTile]:
    """The tiles of a sheet for a page."""
    return [PageTile(tile_image(tile.pixels, tile.lines[0]), tile.lines) for tile in tiles]
