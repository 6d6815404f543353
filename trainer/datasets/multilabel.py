"""Images with any number of labels each, named in a CSV file; see `label_file` for its form."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.files import shown

from ..errors import DatasetError
from .cache import CachePlace
from .dataset import Dataset, Geometry
from .label_file import Row, read_label_file
from .pictures import Pictures, read_pictures

#: Of several equal files the one in the split of the lowest rank stays.
_RANKS = {"test": 0, "validation": 1}
#: With one image in each split.
_FEWEST = 3


def load(file: Path, geometry: Geometry, cache: CachePlace = "temporary") -> Dataset:
    """The data set of a CSV file: task multilabel, uint8 targets of shape (n, labels), the labels in their own order.

    The input is as of a folder of images. Files that are missing or cannot be decoded, and files whose bytes another
    file has already, are left out and listed with their line.

    Args:
        cache: where decoded pictures are kept; see `cache.open_cache`.

    Raises:
        DatasetError: as `read_label_file` does; a path that a link leads out of the folder; most images missing; no
            label at all, or one on fewer than three usable images; or a cache that cannot be used.
    """
    rows, repeated = read_label_file(file)
    labels = tuple(sorted({label for row in rows for label in row.labels}))
    if not labels:
        raise DatasetError(f"{shown(file)}: no image has a label; expected path,label;label")
    root, name = file.parent, shown(file)
    _check_inside(root, rows, name)
    pictures = read_pictures(root, [row.path for row in rows], geometry, cache)
    unusable = _unusable(pictures, rows, name)
    _leave_out_copies(pictures, rows, name)
    kept = [rows[index] for index in pictures.kept]
    if len(kept) < len(unusable):
        raise DatasetError(
            f"{name}: {len(unusable)} of {len(rows)} images cannot be used; paths are relative to its folder. "
            f"The first: {unusable[0]}"
        )
    given = _given(kept, name)
    if not given:
        _check_counts(labels, rows, kept, name)
    return Dataset(
        name=root.resolve().name,
        labels=labels,
        input=pictures.input,
        pixels=pictures.pixels(),
        targets=_targets(kept, labels),
        source=pictures.source(),
        given=given,
        date=_newest(file, [root / row.path for row in kept]),
        left_out=(*pictures.left_out, *repeated),
        # Grey images are often scans, of writing say, which means something else in the mirror.
        augmentation=("shift", "colour") if pictures.input.channels == 1 else ("shift", "flip", "colour"),
        task="multilabel",
    )


def _check_inside(root: Path, rows: Sequence[Row], name: str) -> None:
    inside = os.path.realpath(root)
    for row in rows:
        if os.path.commonpath([inside, os.path.realpath(root / row.path)]) != inside:
            raise DatasetError(
                f"{name}, line {row.line}: {shown(row.path)} is a link out of the file's folder; put the image there"
            )


def _unusable(pictures: Pictures, rows: Sequence[Row], name: str) -> list[str]:
    """Give each file that cannot be read its line; returns them."""
    for index, (row, problem) in enumerate(zip(rows, pictures.problems, strict=True)):
        if problem:
            pictures.problems[index] = f"{name}, line {row.line}: {problem}; correct the path or take the line out"
    return list(pictures.left_out)


def _leave_out_copies(pictures: Pictures, rows: Sequence[Row], name: str) -> None:
    first: dict[bytes, Row] = {}
    order = sorted(pictures.kept, key=lambda index: _RANKS.get(rows[index].split, 2))
    for index in order:
        row, digest = rows[index], pictures.sha256[index]
        original = first.setdefault(digest, row)
        if original is not row:
            other = "" if set(original.labels) == set(row.labels) else ", with other labels"
            pictures.problems[index] = (
                f"{name}, line {row.line}: {shown(row.path)} is the same image as in line {original.line}{other}"
            )


def _given(kept: Sequence[Row], name: str) -> dict[str, npt.NDArray[np.int64]]:
    splits = np.array([row.split for row in kept])
    found = {split: np.flatnonzero(splits == split) for split in sorted(set(splits.tolist()) - {""})}
    if found and "train" not in found:
        raise DatasetError(f"{name}: no usable image is in the train split, only in {' and '.join(found)}")
    return found


def _check_counts(labels: Sequence[str], rows: Sequence[Row], kept: Sequence[Row], name: str) -> None:
    for label in labels:
        count = sum(label in row.labels for row in kept)
        if count < _FEWEST:
            lines = [str(row.line) for row in rows if label in row.labels][:_FEWEST]
            raise DatasetError(
                f"{name}: label {label!r} is on {count} usable images (line {', '.join(lines)}); three are the least, "
                "one for each split: add images with it, or correct it"
            )


def _targets(kept: Sequence[Row], labels: Sequence[str]) -> npt.NDArray[np.uint8]:
    columns = {label: column for column, label in enumerate(labels)}
    targets = np.zeros((len(kept), len(labels)), np.uint8)
    for index, row in enumerate(kept):
        targets[index, [columns[label] for label in row.labels]] = 1
    return targets


def _newest(file: Path, images: Sequence[Path]) -> str:
    newest = max(path.lstat().st_mtime for path in (file, *images))
    return datetime.fromtimestamp(newest, timezone.utc).date().isoformat()
