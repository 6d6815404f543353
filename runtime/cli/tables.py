"""Tables for a terminal, which all packages' commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_ROWS_BETWEEN_HEADS = 20
_SHORT_NAMES = (
    ("mean_average_precision", "mAP"),
    ("balanced_accuracy", "bacc"),
    ("accuracy", "acc"),
    ("val_", "v"),
    ("seconds", "s"),
)


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """The lines of a table; each column is as wide as its widest cell.

    Args:
        rows: the cells of each row; all rows have the same length.
        left: number of columns, from the first on, that are aligned to the left; the others are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


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
