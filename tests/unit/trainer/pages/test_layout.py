"""Pages in a browser: nothing is cut at the width of a phone, a tablet, a laptop and a large screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.browser import check_layout
from trainer.pages.parts import (
    Cell,
    PageFigure,
    PageTable,
    PageTile,
    TileSheet,
    change_bars,
    class_table,
    confusion_matrix,
    flatten,
    tile_image,
    top_confusions,
)
from trainer.pages.templating import render

pytestmark = pytest.mark.fast

#: Labels that people have, and that break layouts: long words, spaces, other scripts.
LABELS = ("cat", "Donaudampfschifffahrtsgesellschaftskapitän", "猫" * 40, "a label of many words " * 4, "x_" * 60)


def parts_page(folder: Path, labels: tuple[str, ...]) -> str:
    """A page with every part, of these labels."""
    counts = np.random.default_rng(0).integers(0, 90_000, (len(labels), len(labels)))
    matrices = {"float32": counts, "int8": counts + 1}
    file = [
        "float32.tflite",
        "tflite-runtime 2.14.0",
        "c4328d9d4ef7ea93b848593dbd65c6bc65e3c86e2a9d7f867fa7eb6baf1f0edd",
    ]
    tile = PageTile(tile_image(np.zeros((3, 40, 1), np.uint8)), labels[:3], "wrong")
    (folder / "parts-page.html.j2").write_text(
        '{% extends "page.html.j2" %}{% import "parts.html.j2" as parts %}{% block body %}'
        "{{ parts.cards(cards) }}{{ parts.notices('Warnings', labels) }}{{ parts.matrices(matrices) }}"
        "{{ parts.table(confusions, 'confusions') }}{{ parts.bars(bars) }}{{ parts.tiles(sheet) }}"
        "{{ parts.figures([figure]) }}{{ parts.table(classes, 'classes', tall=True) }}"
        "{{ parts.table(contract, 'contract', 'words') }}"
        "{{ parts.table(files, 'files', 'words') }}<pre>{{ labels | join(' ') }}</pre>{% endblock %}"
    )
    card = {
        "name": labels[-1],
        "verdict": "failed",
        "style": "failed",
        "remarks": labels,
        "figures": [
            ("test mean average precision", "0.9749"),
            ("95 % interval", "0.9530 to 0.9868"),
            ("a", labels[-1]),
        ],
    }
    return render(
        "parts-page.html.j2",
        folder,
        title=labels[-1],
        labels=labels,
        cards=[card, card, card],
        matrices=list(filter(None, (confusion_matrix(found, labels, name) for name, found in matrices.items()))),
        confusions=top_confusions(matrices, labels, "images"),
        bars=change_bars({label: place - 2.0 for place, label in enumerate(labels)}),
        sheet=TileSheet(labels[-1], [tile] * 7),
        figure=PageFigure(labels[1], tile_image(np.zeros((400, 1600, 3), np.uint8)).png),
        classes=class_table(labels, matrices, "images"),
        files=PageTable.of_texts(("file", "interpreter", "SHA-256"), [file]),
        contract=PageTable([*("field", "value")], [[*map(Cell, row)] for row in flatten({"labels": list(labels)})]),
    )


def test_every_part_fits_every_screen(tmp_path: Path) -> None:
    many = tuple(f"class number {n}" for n in range(300))
    check_layout([parts_page(tmp_path, LABELS), parts_page(tmp_path, many[:25]), parts_page(tmp_path, many)], tmp_path)
