"""The page of `pocketlens compare` for an old and a new model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.files import shown

from ..evaluation.comparison import metric_title
from ..evaluation.model_comparison import BETTER, WORSE, ModelComparison, points
from ..evaluation.paired_set import PairedSet
from ..evaluation.predictions import Places, Predictions
from ..plots.image_grid import SMALL_TILES, input_pixels
from .parts import Cell, PageTable, PageTile, TileSheet, change_bars, tile_image
from .templating import render

_STYLES = {BETTER: "passed", WORSE: "failed"}


def change_page(
    paired: PairedSet, old: Predictions, new: Predictions, comparison: ModelComparison, notes: Sequence[str]
) -> str:
    """What changes with a new model, as an HTML page.

    Args:
        paired: the samples.
        old, new: predictions for them.
        notes: what a person should know of the samples, a line each.
    """
    before, after = (model.name for model in paired.models)
    images = paired.models[1].contract.input.kind == "image"
    sheets = (
        (comparison.lost, "that only the old model answers correctly", "wrong"),
        (comparison.won, "that only the new model answers correctly", "right"),
    )
    return render(
        "change.html.j2",
        title=f"{before} → {after} on {shown(paired.samples.name)}, {paired.samples.split}",
        sentence=comparison.sentence(),
        style=_STYLES.get(comparison.verdict, ""),
        notes=notes,
        cards=[_card(paired, comparison)],
        counts=_counts(comparison),
        bars=change_bars({shown(each.label): 100 * each.change for each in comparison.classes}),
        classes=_classes(comparison),
        sheets=[_sheet(paired, old, new, *sheet) for sheet in sheets if images and len(sheet[0])],
    )


def _card(paired: PairedSet, comparison: ModelComparison) -> dict[str, Any]:
    low, high = comparison.interval
    figures = [
        (f"{metric_title(comparison.metric.name)}, new", f"{comparison.metric.value:.4f}"),
        ("old", f"{comparison.old:.4f}"),
        ("points", points(comparison.change)),
        ("95 % interval", f"{points(low)} to {points(high)}"),
        ("McNemar's p", f"{comparison.p_value:.2g}"),
        ("samples", f"{len(paired.samples.chosen):,}"),
        ("labels compared", f"{len(paired.compared):,}"),
    ]
    style = _STYLES.get(comparison.verdict, "muted")
    return {
        "name": paired.models[1].name,
        "verdict": comparison.verdict,
        "style": style,
        "figures": figures,
        "remarks": [],
    }


def _counts(comparison: ModelComparison) -> PageTable:
    rows = [
        ["old right", f"{comparison.both_right:,}", f"{len(comparison.lost):,}"],
        ["old wrong", f"{len(comparison.won):,}", f"{comparison.both_wrong:,}"],
    ]
    return PageTable.of_texts(["", "new right", "new wrong"], rows)


def _classes(comparison: ModelComparison) -> PageTable:
    rows = [
        [
            Cell(shown(each.label)),
            *map(Cell, (f"{each.samples:,}", f"{each.old:.4f}", f"{each.new:.4f}", f"{each.lost:,}", f"{each.won:,}")),
            Cell(points(each.change)),
            Cell(f"{points(each.interval[0])} to {points(each.interval[1])}"),
            Cell(each.verdict, _STYLES.get(each.verdict, "")),
        ]
        for each in comparison.classes
    ]
    return PageTable(
        ["class", "samples", "old recall", "new recall", "lost", "won", "points", "interval", "shown to be"], rows
    )


def _sheet(paired: PairedSet, old: Predictions, new: Predictions, places: Places, what: str, style: str) -> TileSheet:
    samples, spec = paired.samples, paired.models[1].contract.image_input
    tiles = []
    for place in places[: SMALL_TILES.max_tiles].tolist():
        before, after = samples.describe(old, place), samples.describe(new, place)
        lines = [f"true: {shown(str(after['truth']))}"]
        lines += [
            f"{name}: {shown(str(each['answer']))} {each['score']:.2f}"
            for name, each in (("old", before), ("new", after))
        ]
        image = tile_image(input_pixels(samples.source.sample(int(samples.chosen[place])), spec), lines[-1])
        tiles.append(PageTile(image, [*lines, str(after["name"])], style))
    more = "; the most confident are shown" if len(places) > len(tiles) else ""
    return TileSheet(f"{len(places):,} images {what}{more}.", tiles)
