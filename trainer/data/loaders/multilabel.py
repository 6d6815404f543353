"""Loads images with any number of labels each, as a CSV file lists them; `label_file` describes its form."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.files import shown

from ...errors import DatasetError
from ..dataset import Dataset, Geometry, LabelCheck, newest_date
from ..image_cache import CachePlace
from ..image_files import OTHER_LABELS, ImageFiles, notes_of_files, read_image_files
from ..label_names import check_label_count, dataset_name
from ..splits import given_splits
from .label_file import Row, read_label_file


def load_multilabel(
    file: Path, geometry: Geometry, cache: CachePlace = "temporary", check_labels: LabelCheck | None = None
) -> Dataset:
    """The data set of a CSV file: task multilabel, uint8 targets of shape (n, labels), the labels in their own order.

    Where every image has exactly one of several labels, the labels are classes: task multiclass, int32 targets of shape
    (n,), and a note says so. `choose_task` makes it multilabel.

    The input is chosen as for a folder of images. Files that are missing or cannot be decoded, and copies of other
    files, are left out and listed with their line.

    Args:
        cache: where decoded images are kept; see `image_cache.open_cache`.
        check_labels: called with the labels before an image is decoded; its errors pass through.

    A label on few images is no error here, since an evaluation needs fewer images than `make_splits`.

    Raises:
        DatasetError: as `read_label_file`; a contract cannot hold the file's name; a link leads out of the folder;
            most images are missing; there is no label, or there are too many; or the cache cannot be used.
    """
    root, name = file.parent, shown(file)
    called = dataset_name(file)
    rows, repeated = read_label_file(file)
    _refuse_missing(root, rows, name)
    labels = tuple(sorted({label for row in rows for label in row.labels}))
    if not labels:
        raise DatasetError(f"{name}: no image has a label; expected path,label;label")
    check_label_count(labels, name)
    if check_labels:
        check_labels(labels)
    _check_inside(root, rows, name)
    files = read_image_files(root, [row.path for row in rows], geometry, cache)
    unusable = _unusable(files, rows, name)
    copied = _leave_out_copies(files, rows, name)
    kept = [rows[index] for index in files.kept]
    if len(kept) < len(unusable):
        raise DatasetError(
            f"{name}: {len(unusable)} of {len(rows)} images cannot be used; paths are relative to its folder. "
            f"The first: {unusable[0]}"
        )
    targets = _targets(kept, labels)
    data = Dataset(
        name=called,
        labels=labels,
        input=files.input,
        pixels=files.pixels(),
        targets=targets,
        source=files.source(),
        given=given_splits([row.split for row in kept]),
        date=newest_date([file, *(root / row.path for row in kept)]),
        left_out=(*files.left_out, *repeated),
        copied=copied + len(repeated),
        notes=tuple(notes_of_files(files)),
        augmentation=files.augmentation,
        task="multilabel",
        is_listed=True,
    )
    if len(labels) == 1 or (targets.sum(axis=1) != 1).any():
        return data
    note = f"{name}: every image has one label, so that they are classes; `task=multilabel` takes them for labels"
    return replace(data, task="multiclass", targets=targets.argmax(axis=1).astype(np.int32), notes=(*data.notes, note))


def _refuse_missing(root: Path, rows: Sequence[Row], name: str) -> None:
    """Raise DatasetError where most files are missing: what is wrong with the labels can wait."""
    missing = [row for row in rows if not os.path.lexists(root / row.path)]
    if 2 * len(missing) > len(rows):
        raise DatasetError(
            f"{name}: {len(missing)} of {len(rows)} images cannot be used; paths are relative to its folder. "
            f"The first: line {missing[0].line}, {shown(root / missing[0].path)} is missing"
        )


def _check_inside(root: Path, rows: Sequence[Row], name: str) -> None:
    inside = os.path.realpath(root)
    for row in rows:
        if os.path.commonpath([inside, os.path.realpath(root / row.path)]) != inside:
            raise DatasetError(
                f"{name}, line {row.line}: {shown(row.path)} is a link out of the file's folder; put the image there"
            )


def _unusable(files: ImageFiles, rows: Sequence[Row], name: str) -> list[str]:
    """Add the line of the CSV file to the problem of each unusable image; returns the problems."""
    for index, (row, problem) in enumerate(zip(rows, files.problems, strict=True)):
        if problem:
            files.problems[index] = f"{name}, line {row.line}: {problem}; correct the path or take the line out"
    return list(files.left_out)


def _leave_out_copies(files: ImageFiles, rows: Sequence[Row], name: str) -> int:
    def describe(index: int, original: int) -> str:
        row, first = rows[index], rows[original]
        other = "" if set(first.labels) == set(row.labels) else OTHER_LABELS
        return f"{name}, line {row.line}: {shown(row.path)} is the same image as in line {first.line}{other}"

    return files.leave_out_copies([row.split for row in rows], describe)


def _targets(kept: Sequence[Row], labels: Sequence[str]) -> npt.NDArray[np.uint8]:
    columns = {label: column for column, label in enumerate(labels)}
    targets = np.zeros((len(kept), len(labels)), np.uint8)
    for index, row in enumerate(kept):
        targets[index, [columns[label] for label in row.labels]] = 1
    return targets
