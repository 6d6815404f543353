"""Tables for a terminal, which all packages' commands print."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TypeAlias

from .output import ellipsis, output_width

_Column: TypeAlias = Sequence[str]

_GAP = "  "
#: A text is not shortened below this.
_LEAST_CELL = 12
_NUMBER = frozenset("0123456789.,+-%")
_ROWS_BETWEEN_HEADS = 20
_SHORT_NAMES = (
    ("mean_average_precision", "mAP"),
    ("balanced_accuracy", "bacc"),
    ("accuracy", "acc"),
    ("val_", "v"),
    ("seconds", "s"),
)


def columns(rows: Sequence[Sequence[str]], left: int = 1, width: int | None = None) -> list[str]:
    """The lines of a table; each column is as wide as its widest cell.

    No line is wider than the terminal: cells that are no numbers are shortened in their middle, and columns that still
    do not fit follow in further parts, which begin with the first columns again. Where the output is no terminal,
    nothing is shortened.

    Args:
        rows: the cells of each row; all rows have the same length.
        left: number of columns, from the first on, that are aligned to the left; the others are aligned to the right.
        width: the width to fit, for a table that does not go to standard output.
    """
    width = width or output_width()
    table: list[_Column] = list(zip(*rows, strict=True))
    longest = max(map(cell_width, chain.from_iterable(table)), default=0)
    if width is not None:
        while longest > _LEAST_CELL and table_width(table, longest) > width:
            longest -= 1
    parts: list[Sequence[int]] = [range(len(table))]
    if width is not None and table_width(table, longest) > width:
        longest = max(_LEAST_CELL, width // 3)
        parts = _parts(table, max(1, left), longest, width)
    lines: list[str] = []
    for part in parts:
        lines += [""] * bool(lines)
        cut = [[_shorten(cell, longest) for cell in table[place]] for place in part]
        widths = [max(map(cell_width, column)) for column in cut]
        for row in zip(*cut, strict=True):
            padded = (
                cell + pad if place < left else pad + cell
                for place, cell, wide in zip(part, row, widths, strict=True)
                for pad in [" " * (wide - cell_width(cell))]
            )
            lines.append(_GAP.join(padded).rstrip())
    return lines


def _parts(table: Sequence[_Column], left: int, longest: int, width: int) -> list[Sequence[int]]:
    """The places of the columns of each part of a table that is too wide for one; each begins with the left columns.

    Where these leave no room for another column, only the first is repeated.
    """
    widths = [table_width([column], longest) + len(_GAP) for column in table]
    if sum(widths[:left]) + max(widths[left:], default=0) - len(_GAP) > width:
        left = 1
    parts = [[*range(left)]]
    for place in range(left, len(table)):
        if len(parts[-1]) > left and sum(widths[each] for each in (*parts[-1], place)) - len(_GAP) > width:
            parts.append([*range(left)])
        parts[-1].append(place)
    return [*parts]


def table_width(table: Sequence[_Column], longest: int = sys.maxsize) -> int:
    """The width of a table of these columns, whose cells are cut to a length."""
    cut = (max(cell_width(_shorten(cell, longest)) for cell in column) for column in table)
    return sum(cut) + len(_GAP) * (len(table) - 1)


def cell_width(text: str) -> int:
    """The columns of a terminal that a text takes: letters of East Asia take two."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text
    )


def _shorten(text: str, longest: int) -> str:
    """A text without its middle, where it is too wide; a number stays whole."""
    if cell_width(text) <= longest or _NUMBER.issuperset(text):
        return text
    # More of the end: paths and numbered labels differ there.
    start = text[: longest // 3]
    end = text[len(text) - (longest - 1 - len(start)) :]
    while cell_width(start) + 1 + cell_width(end) > longest:
        start, end = start[:-1], end[1:]
    return f"{start}{ellipsis()}{end}"


class RunningTable:
    """A table that grows by a row now and then; its names come again above every twentieth row."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows = 0

    def lines(self, row: Mapping[str, str | float], width: int) -> list[str]:
        """The lines of one more row. A narrow terminal gets short names and fewer digits, then fewer columns.

        Args:
            row: names to values; a text is printed as it is.
            width: columns of the terminal.
        """
        names, cells = list(row), [_number(value, 4) for value in row.values()]
        gap, least = "  ", 6
        if _width(names, cells, gap, least) > width:
            names, gap, least = list(map(_short, row)), " ", 4
            cells = [_number(value, 3).removeprefix("0").partition("/")[0].rjust(least) for value in row.values()]
            cells = [
                cell.rjust(5) if isinstance(value, float) else cell
                for cell, value in zip(cells, row.values(), strict=True)
            ]
        while len(names) > 1 and _width(names, cells, gap, least) > width:
            names, cells = names[:-1], cells[:-1]
        head = [] if names == self._names and self._rows % _ROWS_BETWEEN_HEADS else [names]
        self._names, self._rows = names, self._rows + 1
        widths = _widths(names, cells, least)
        return [gap.join(map(str.rjust, line, widths)) for line in (*head, cells)]


def _number(value: str | float, digits: int) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0e}" if 0 < abs(value) < 0.001 else f"{value:.{digits}f}"


def _short(name: str) -> str:
    for long, short in _SHORT_NAMES:
        name = name.replace(long, short)
    return name


def _widths(names: Sequence[str], cells: Sequence[str], least: int) -> list[int]:
    return [max(least, len(name), len(cell)) for name, cell in zip(names, cells, strict=True)]


def _width(names: Sequence[str], cells: Sequence[str], gap: str, least: int) -> int:
    widths = _widths(names, cells, least)
    return sum(widths) + len(gap) * (len(widths) - 1)
