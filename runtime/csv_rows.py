"""Vectors of features in CSV, a row each: from files, or from standard input as they arrive."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from .errors import FeaturesError
from .features import Vector, load_vector
from .files import STANDARD_INPUT, read_regular_file, shown
from .input_spec import FeaturesInput

#: The largest CSV file; standard input may go on for ever.
MAX_TABLE_BYTES = 512 * 2**20
MAX_LINE_BYTES = 2**20
#: The column of true labels in a file for training; it is ignored here.
LABEL_COLUMN = "label"
#: A PNG, given by mistake, is recognised by this; other image formats by a zero byte in the first line.
_PNG = b"\x89PNG"


class Reading(NamedTuple):
    """One row to classify, or the reason why it cannot be classified.

    Attributes:
        name: file and line, for people: `readings.csv:3`.
        values: the numbers, in the order of the features.
        problem: the reason; "" for none.
    """

    name: str
    values: tuple[float, ...] = ()
    problem: str = ""

    def vector(self, spec: FeaturesInput) -> Vector:
        """The values as `Classifier` takes them; errors name the row.

        Raises:
            FeaturesError: the row has a problem, or a value is not a finite number.
        """
        if self.problem:
            raise FeaturesError(self.problem)
        return load_vector(self.values, spec, shown(self.name))


def read_rows(names: Sequence[str], spec: FeaturesInput) -> Iterator[Reading]:
    """The rows of CSV files. For standard input, named `-`, each row comes as soon as its line is complete.

    The first row may name the columns, in any order; a column `label` is ignored. A file that is not such a table gives
    one row with its problem.
    """
    for name in names:
        try:
            if name == STANDARD_INPUT:
                yield from _rows(sys.stdin.buffer, "standard input", spec)
            else:
                content, shown_name = read_regular_file(name, MAX_TABLE_BYTES, FeaturesError)
                yield from _rows(io.BytesIO(content), shown_name, spec)
        except FeaturesError as error:
            yield Reading(name, problem=str(error))


def read_table(stream: BinaryIO, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells without blanks around them) for each row of a CSV file; empty lines are skipped.

    Raises:
        FeaturesError: the file is not UTF-8 text, a line is too long, or its quotes do not match.
    """
    reader = csv.reader(_lines(stream, name), strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise FeaturesError(f"{name}:{reader.line_num}: no CSV: {error}; correct its quotes") from error


def parse_number(text: str) -> float:
    """The number in a cell; raises ValueError, also for Python's underscores between digits."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _holds_number(text: str) -> bool:
    """Whether a cell holds a number; NaN and infinities count."""
    try:
        parse_number(text)
    except ValueError:
        return False
    return True


def _lines(stream: BinaryIO, name: str) -> Iterator[str]:
    for count, raw in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if len(raw) > MAX_LINE_BYTES:
            raise FeaturesError(f"{name}:{count}: a line of more than {MAX_LINE_BYTES // 2**20} MiB, the limit")
        if b"\0" in raw or raw.startswith(_PNG):
            raise FeaturesError(f"{name}: not text; a model that takes features wants a CSV file, a row each")
        try:
            text = raw.decode("utf-8-sig" if count == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise FeaturesError(f"{name}:{count}: not in UTF-8; save it as UTF-8") from error
        yield text


def _rows(stream: BinaryIO, name: str, spec: FeaturesInput) -> Iterator[Reading]:
    columns, width = list(range(len(spec.names))), len(spec.names)
    for row, (line, cells) in enumerate(read_table(stream, name)):
        if row == 0 and _is_header(cells, spec):
            columns, width = _columns(cells, name, spec), len(cells)
            continue
        yield _reading(cells, f"{name}:{line}", spec, columns, width)


def _is_header(cells: list[str], spec: FeaturesInput) -> bool:
    # Names may look like numbers, as wavelengths do.
    return set(spec.names) <= set(cells) or not all(map(_holds_number, cells))


def _columns(header: list[str], name: str, spec: FeaturesInput) -> list[int]:
    """The column of each feature."""
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise FeaturesError(f"{name}: {word} between its cells; save it with commas between them")
    missing = [feature for feature in spec.names if feature not in header]
    unknown = [cell for cell in header if cell not in spec.names and cell.lower() != LABEL_COLUMN]
    twice = [cell for cell in header if header.count(cell) > 1]
    for what, found in (("no column", missing), ("unknown column", unknown), ("two columns", twice)):
        if found:
            raise FeaturesError(f"{name}: {what} {shown(found[0])!r} in its header, expected {spec.describe()}")
    return [header.index(feature) for feature in spec.names]


def _reading(cells: list[str], name: str, spec: FeaturesInput, columns: list[int], width: int) -> Reading:
    if len(cells) != width:
        return Reading(name, problem=f"{name}: {len(cells)} cells, expected {width}: {spec.describe()}")
    values = []
    for feature, column in zip(spec.names, columns, strict=True):
        try:
            values.append(parse_number(cells[column]))
        except ValueError:
            found = shown(cells[column][:80])
            return Reading(name, problem=f"{name}: {feature} is {found!r}, expected a number")
    return Reading(name, tuple(values))
