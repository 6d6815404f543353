"""Folders of pictures for training, kept in build/bench."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import materials


def photo_folder() -> Path:
    """Two classes of 250 JPEGs of 640x480, as detailed as photographs."""
    folder = materials.HOME / "photo-folder"
    for number, path in enumerate(map(Path, materials.photos())):
        place = folder / "ab"[number % 2] / path.name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(path)
    return folder


def many_pictures(count: int, home: Path = materials.HOME) -> Path:
    """Two classes of small JPEGs, `count` in all, each different."""
    folder = home / f"pictures-{count}"
    last = folder / "ab"[(count - 1) % 2] / f"{count - 1}.jpg"
    if not last.exists():
        print(f"drawing {count} pictures", file=sys.stderr)
        rng = np.random.default_rng(count)
        for label in "ab":
            (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rough = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
            rough.resize((96, 72), Image.Resampling.BICUBIC).save(folder / "ab"[number % 2] / f"{number}.jpg")
    return folder
