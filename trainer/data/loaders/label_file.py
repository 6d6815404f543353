"""Reads a CSV file of images and their labels: `path,label;label`, and in a third column, if any, the split."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn

from runtime.files import read_regular_file, shown
from runtime.input_spec import MAX_LABEL_LENGTH, is_printable

from ...errors import DatasetError
from ..folder_layout import split_of
from ..run_folder import SPLIT_NAMES

_MAX_FILE_BYTES = 256 * 2**20
_HEADERS = (("path",), ("label", "labels"), ("split",))
_FORM = "expected path,label;label (and train, val or test in a third column, where there are splits)"


class Row(NamedTuple):
    """A line of the file, for one image.

    Attributes:
        line: its number in the file, from 1.
        path: relative to the file's folder, with slashes; it does not lead out of it.
        labels: the image's labels, maybe none.
        split: `"train"`, `"validation"`, `"test"`, or `""` where the file has no such column.
    """

    line: int
    path: str
    labels: tuple[str, ...]
    split: str


def read_label_file(file: Path) -> tuple[list[Row], list[str]]:
    """The images of a CSV file, each once, and a message for each row that repeats another.

    A first row that begins with `path` is a header. Semicolons separate labels, in any order; an image without labels
    has an empty second column.

    Raises:
        DatasetError: the file cannot be read, is not UTF-8, or has an invalid row; the message names the line.
    """
    content, name = read_regular_file(file, _MAX_FILE_BYTES, DatasetError)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DatasetError(f"{name}, line {line}: not in UTF-8; save it as UTF-8") from error
    rows: dict[str, Row] = {}
    repeated = []
    for row in _rows(text, name):
        first = rows.setdefault(row.path, row)
        if first is row:
            continue
        if (set(first.labels), first.split) != (set(row.labels), row.split):
            reason = f"other labels or another split than in line {first.line}; keep one"
            _refuse(name, row.line, f"{shown(row.path)} has {reason}")
        repeated.append(f"{name}, line {row.line}: {shown(row.path)} stands in line {first.line} already")
    if not rows:
        raise DatasetError(f"{name}: no images in it; {_FORM}")
    return list(rows.values()), repeated


def _refuse(name: str, line: int, reason: str) -> NoReturn:
    raise DatasetError(f"{name}, line {line}: {reason}")


def _rows(text: str, name: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    width = 0
    try:
        for cells in reader:
            if not cells:
                continue
            if not width:
                width = len(cells)
                if cells[0].strip().lower() == "path":
                    _check_header(cells, name, reader.line_num)
                    continue
            if len(cells) != width or width not in (2, 3):
                wanted = f"like the first row's {width}" if width in (2, 3) else "2 or 3"
                _refuse(name, reader.line_num, f"{len(cells)} columns, expected {wanted}: {_FORM}")
            yield _row(cells, name, reader.line_num)
    except csv.Error as error:
        raise DatasetError(f"{name}, line {reader.line_num}: {error}; {_FORM}") from error


def _check_header(cells: Sequence[str], name: str, line: int) -> None:
    for cell, allowed in zip(cells, _HEADERS, strict=False):
        if cell.strip().lower() not in allowed:
            _refuse(name, line, f"column {shown(cell)!r}, expected {' or '.join(allowed)}; {_FORM}")


def _row(cells: Sequence[str], name: str, line: int) -> Row:
    path = PurePosixPath(cells[0].strip())
    if not path.name or "\0" in cells[0]:
        _refuse(name, line, f"no path of an image; {_FORM}")
    if path.is_absolute() or ".." in path.parts:
        _refuse(name, line, f"{shown(path)} leads out of the file's folder; give paths below it")
    labels = dict.fromkeys(label for part in cells[1].split(";") if (label := part.strip()))
    for label in labels:
        if not is_printable(label):
            _refuse(name, line, f"label {label[:40]!r}, expected printable text of up to {MAX_LABEL_LENGTH} characters")
    split = ""
    if len(cells) == len(_HEADERS):
        split = split_of(cells[2])
        if split not in SPLIT_NAMES:
            _refuse(name, line, f"split {shown(cells[2])!r}, expected train, val or test")
    return Row(line, path.as_posix(), tuple(labels), split)
