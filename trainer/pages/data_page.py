"""The page of `pocketlens data show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from runtime.files import shown

from ..data.samples import choose_samples, label_of
from ..data.summary import DatasetSummary
from ..plots.figure import png_bytes
from ..plots.image_grid import SMALL_TILES
from ..plots.scatter import draw_scatter
from .parts import PageFigure, PageTable, PageTile, TileSheet, tile_image
from .templating import render

#: Lines of a list on the page; the command's JSON has all.
_MAX_LINES = 200


def data_page(summary: DatasetSummary, seed: int) -> str:
    """The summary of a data set as an HTML page, with some samples of each class.

    Args:
        seed: of the samples.
    """
    data = summary.dataset
    features = data.input.kind == "features"
    noun = data.input.noun
    values = summary.values
    names = list(getattr(data.input, "names", ())) or (["red", "green", "blue"] if len(values.mean) == 3 else ["grey"])
    columns = ("", "minimum", "maximum", "mean", "standard deviation")
    rows = zip(names, values.least, values.greatest, values.mean, values.std, strict=True)
    total = len(data.targets)
    counts = [[shown(label), *(f"{n[i]:,}" for n in summary.counts.values())] for i, label in enumerate(data.labels)]
    sizes = [(f"{height}x{width}", f"{count:,}") for height, width, count in summary.sizes[:_MAX_LINES]]
    return render(
        "data.html.j2",
        title=f"{shown(data.name)}: data set",
        cards=[_card(summary, noun), _split_card(summary), _problem_card(summary)],
        refusal=summary.refusal,
        notes=[shown(line) for line in data.remarks],
        noun=noun,
        sheet=None if features else _samples(summary, seed),
        figures=_scatter(summary) if features else [],
        counts=PageTable.of_texts(("class", *summary.counts), counts),
        of_labels=data.targets.ndim == 2,
        values=PageTable.of_texts(columns, ((name, *(f"{value:.4g}" for value in row)) for name, *row in rows)),
        sizes=PageTable.of_texts(("height x width", "images"), sizes),
        more_sizes=max(0, len(summary.sizes) - _MAX_LINES),
        copies=_groups([(group, "") for group in summary.copies], summary),
        near=_groups([([p.first, p.second], f"{p.difference:.1f} grey levels apart") for p in summary.near], summary),
        near_complete=summary.near_complete,
        left_out=[shown(line) for line in data.left_out[:_MAX_LINES]],
        more_left_out=max(0, len(data.left_out) - _MAX_LINES),
        total=total,
    )


def _card(summary: DatasetSummary, noun: str) -> dict[str, Any]:
    data = summary.dataset
    spec = data.input
    figures = [(noun, f"{len(data.targets):,}"), ("labels", f"{len(data.labels):,}"), ("task", data.task)]
    if spec.kind == "image":
        figures += [("input", f"{spec.height}x{spec.width} {spec.colour}"), ("grey", f"{summary.grey:,}")]
        figures.append(("colour", f"{len(data.targets) - summary.grey:,}"))
    else:
        figures.append(("features", f"{len(spec.names):,}"))
    return {"name": shown(data.name), "verdict": "", "style": "", "figures": figures, "remarks": []}


def _split_card(summary: DatasetSummary) -> dict[str, Any]:
    figures = [(name, f"{summary.splits.count(name):,}") for name in summary.counts if name != "all"]
    verdict = "cannot be split" if summary.refusal else ""
    remarks = [summary.refusal] if summary.refusal else []
    return {"name": "Splits", "verdict": verdict, "style": "failed", "figures": figures, "remarks": remarks}


def _problem_card(summary: DatasetSummary) -> dict[str, Any]:
    near = [[pair.first, pair.second] for pair in summary.near]
    groups = [*summary.copies, *near]
    across = sum(map(summary.is_across_splits, groups))
    mixed = sum(map(summary.differs_in_label, groups))
    figures = [
        ("groups of copies", f"{len(summary.copies):,}"),
        ("pairs of near copies", f"{'' if summary.near_complete else 'at least '}{len(near):,}"),
        ("of both, across splits", f"{across:,}"),
        ("of both, with different labels", f"{mixed:,}"),
        ("files left out", f"{len(summary.dataset.left_out):,}"),
    ]
    style = "failed" if across or mixed else ""
    verdict = "✗ copies make figures too good" if across else "✗ copies with different labels" if mixed else ""
    return {
        "name": "Copies",
        "verdict": verdict,
        "style": style,
        "figures": figures,
        "remarks": [],
    }


def _samples(summary: DatasetSummary, seed: int) -> TileSheet:
    data = summary.dataset
    chosen = choose_samples(data.targets, SMALL_TILES.max_tiles, seed).tolist()
    tiles = []
    for index in chosen:
        label = label_of(data, index)
        tiles.append(PageTile(tile_image(data.pixels[np.array([index])][0], label), (shown(label), f"#{index}")))
    return TileSheet(f"{len(tiles):,} of {len(data.targets):,} images, as the network gets them.", tiles)


def _scatter(summary: DatasetSummary) -> list[PageFigure]:
    data = summary.dataset
    assert data.input.kind == "features"
    vectors = data.pixels[np.arange(len(data.targets))]
    figure = draw_scatter(vectors, data.targets, data.labels, data.input.names)
    return [PageFigure("The first features of every vector", png_bytes(figure))]


def _groups(groups: list[tuple[list[int], str]], summary: DatasetSummary) -> PageTable:
    rows: Iterator[tuple[str, ...]] = (
        (
            "\n".join(_item(summary, index) for index in group[:_MAX_LINES]),
            "yes" if summary.is_across_splits(group) else "no",
            "yes" if summary.differs_in_label(group) else "no",
            difference,
        )
        for group, difference in groups[:_MAX_LINES]
    )
    return PageTable.of_texts(("samples", "across splits", "different labels", "difference"), rows)


def _item(summary: DatasetSummary, index: int) -> str:
    item = summary.item(index)
    return f"{item.get('file') or f'#{index}'} ({', '.join(filter(None, (item['split'], shown(item['label']))))})"
