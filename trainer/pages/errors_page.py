"""The page of `pocketlens data errors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.files import shown

from ..data.run_folder import RunFolder
from ..evaluation.label_suspects import Suspect, SuspectList
from ..plots.image_grid import input_pixels
from .parts import PageTable, PageTile, TileSheet, tile_image
from .templating import render

#: Images, and pairs of labels, on the page; the CSV file has all images.
_MAX_TILES = 240
_MAX_PAIRS = 20


def errors_page(suspects: SuspectList) -> str:
    """The samples whose label is most likely wrong, as an HTML page; the likeliest first."""
    run, scored = suspects.run, suspects.scored
    noun, images = run.contract.input.noun, run.contract.input.kind == "image"
    name = shown(run.contract.provenance.dataset)
    figures = [
        ("labels that may be wrong", f"{len(suspects.suspects):,}"),
        ("estimated errors", f"{suspects.errors.estimated:,}"),
        (f"{noun} examined", f"{len(scored.members):,}"),
        ("in too small classes", f"{scored.skipped:,}"),
        ("folds", str(scored.folds)),
        ("epochs of each", str(scored.epochs)),
        ("answered as labelled", f"{suspects.agreement:.4f}"),
    ]
    card: dict[str, Any] = {"name": run.name, "verdict": "", "style": "", "figures": figures, "remarks": []}
    listed = suspects.suspects[:_MAX_TILES]
    pairs = ((shown(label), shown(other), f"{count:,}") for label, other, count in suspects.pairs()[:_MAX_PAIRS])
    caption = _caption(len(listed), len(suspects.suspects))
    return render(
        "errors.html.j2",
        title=f"{name}: labels that are most likely wrong",
        cards=[card],
        pairs=PageTable.of_texts(("label", "suggested", "samples"), pairs),
        sheet=TileSheet(caption, [_tile(run, each) for each in listed]) if images and listed else None,
        table=None if images or not listed else _table(listed),
    )


def _caption(listed: int, count: int) -> str:
    more = f"; the first {listed:,} are shown, and the CSV file has all" if count > listed else ""
    return f"{count:,} images, the likeliest error first{more}."


def _tile(run: RunFolder, each: Suspect) -> PageTile:
    lines = [
        f"label: {shown(each.label)} {each.label_score:.2f}",
        f"suggested: {shown(each.suggested)} {each.suggested_score:.2f}",
        each.name,
    ]
    pixels = input_pixels(run.source.sample(each.index), run.contract.image_input)
    return PageTile(tile_image(pixels, f"{lines[0]}, {lines[1]}"), lines)


def _table(listed: Sequence[Suspect]) -> PageTable:
    rows = (
        (each.name, shown(each.label), f"{each.label_score:.4f}", shown(each.suggested), f"{each.suggested_score:.4f}")
        for each in listed
    )
    return PageTable.of_texts(("sample", "label", "its score", "suggested", "its score"), rows)
