"""Loads vectors of features, such as the readings of sensors, from a CSV file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime import ContractError, FeaturesError, FeaturesInput
from runtime.csv_rows import LABEL_COLUMN, MAX_TABLE_BYTES, parse_number, read_table
from runtime.files import read_regular_file, shown
from runtime.image_formats import SUFFIXES
from runtime.input_spec import MAX_LABEL_LENGTH, is_printable

from ...errors import DatasetError
from ..dataset import Dataset, newest_date
from ..label_names import check_label_count, dataset_name
from ..sources import VectorSource

#: A class needs a row in each split.
_MIN_ROWS = 3
#: Above this number, labels that mostly occur in one row alone are taken for measurements.
_FEW_CLASSES = 10
#: Separators of cells that other programs write.
_SEPARATORS = {";": "semicolons", "\t": "tabs"}
_IMAGES = "path"
_FORM = (
    f"expected a header of the features' names with {LABEL_COLUMN!r} last, numbers below, "
    "and a class in the last column"
)


def holds_features(file: Path) -> bool:
    """Whether a CSV file holds features, which its first row shows: a header with `label` last. A file of images has
    `path` first, or, without a header, an image's name.

    Raises:
        DatasetError: the file cannot be read, is empty or is neither, or its cells are not separated by commas.
    """
    first = next((cells for _, cells in _table(file)), None)
    name = shown(file)
    if not first:
        raise DatasetError(f"{name}: empty; {_FORM}")
    if first[0].lower() == _IMAGES or _names_image(first[0]):
        return False
    if len(first) == 1:
        _check_separator(first[0], name)
    if first[-1].lower() == LABEL_COLUMN:
        return True
    raise DatasetError(
        f"{name}: begins with {shown(','.join(first)[:80])!r}; for readings {_FORM}; for images a header path,label"
    )


def load_features(file: Path) -> Dataset:
    """The data set of a CSV file: one class for each row.

    A row with an empty cell, with a value that is not a finite number, or without a label is left out and listed. Equal
    rows are all kept: coarse sensors repeat themselves, and a model has to learn from readings as they occur.

    Raises:
        DatasetError: the file has another form, a contract cannot hold its name, there are fewer than two classes, the
            labels are no classes or too many, or most rows cannot be used.
    """
    name, table, called = shown(file), _table(file), dataset_name(file)
    spec = _features(next(table)[1], name)
    rows: list[list[float]] = []
    labels: list[str] = []
    left_out: list[str] = []
    for line, cells in table:
        try:
            rows.append(_numbers(cells, spec))
        except ValueError as error:
            if not rows and _names_image(cells[0]):
                raise DatasetError(
                    f"{name}:{line}: {shown(cells[0])!r} is an image; a CSV file of images has the header path,label"
                ) from error
            left_out.append(f"{name}:{line}: {error}")
        else:
            labels.append(cells[-1])
    if len(left_out) > len(rows):
        total = len(rows) + len(left_out)
        raise DatasetError(f"{name}: {len(left_out)} of {total} rows cannot be used. The first: {left_out[0]}")
    classes = _classes(labels, name)
    targets = np.array([classes.index(label) for label in labels])
    vectors = np.array(rows)
    return Dataset(
        name=called,
        labels=classes,
        input=spec,
        pixels=vectors,
        targets=targets.astype(np.int32),
        source=VectorSource(vectors),
        date=newest_date([file.resolve()]),
        left_out=tuple(left_out),
        augmentation=(),
    )


def _table(file: Path) -> Any:
    """The rows of the file as `read_table` gives them, with errors as DatasetError."""
    content, name = read_regular_file(file, MAX_TABLE_BYTES, DatasetError)
    try:
        yield from read_table(io.BytesIO(content), name)
    except FeaturesError as error:
        raise DatasetError(str(error)) from error


def _names_image(cell: str) -> bool:
    return cell.lower().endswith(SUFFIXES)


def _check_separator(row: str, name: str) -> None:
    """Refuse a row of one cell that holds another separator."""
    for mark, word in _SEPARATORS.items():
        if mark in row:
            raise DatasetError(
                f"{name}: begins with {shown(row[:80])!r}, {word} between its cells; save it with commas between them, "
                "and with points in its numbers"
            )


def _features(header: Sequence[str], name: str) -> FeaturesInput:
    if len(header) < 2:
        raise DatasetError(f"{name}: no features in its header; {_FORM}")
    try:
        return FeaturesInput(tuple(header[:-1]))
    except ContractError as error:
        raise DatasetError(f"{name}: its header: {error}") from error


def _numbers(cells: Sequence[str], spec: FeaturesInput) -> list[float]:
    """The values of a row; raises ValueError with the reason why it cannot be used."""
    if len(cells) != len(spec.names) + 1:
        raise ValueError(f"{len(cells)} cells, expected {len(spec.names) + 1}")
    label = cells[-1]
    if not label or not is_printable(label):
        raise ValueError(f"label is {shown(label[:80])!r}, expected a name of 1 to {MAX_LABEL_LENGTH} characters")
    values = []
    for feature, cell in zip(spec.names, cells, strict=False):
        try:
            value = parse_number(cell)
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf"):  # NaN is not
            raise ValueError(f"{feature} is {shown(cell[:80])!r}, expected a number")
        values.append(value)
    return values


def _classes(labels: Sequence[str], name: str) -> tuple[str, ...]:
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        found = f"one class ({classes[0]})" if classes else "no rows"
        raise DatasetError(f"{name}: {found}; expected at least two in the column {LABEL_COLUMN!r}")
    # A class with too few rows is no error here, since an evaluation needs fewer rows than `make_splits`.
    if len(classes) > _FEW_CLASSES and 2 * len(classes) > len(labels):
        raise DatasetError(
            f"{name}: {len(classes)} different labels in {len(labels)} rows; a class needs at least {_MIN_ROWS}, "
            f"and the column {LABEL_COLUMN!r} must hold classes, no measurements"
        )
    check_label_count(classes, name)
    return classes
