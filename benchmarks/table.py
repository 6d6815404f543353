"""A line of the benchmarks' tables."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        what: the measured work.
        script: the script's figure.
        ours: Pocketlens's figure, in the same unit.
        unit: the unit of both.
        value: the figure that the bound applies to, such as the ratio of both.
        bound: the bound, as text.
        kept: whether the bound is kept.
    """

    what: str
    script: float | None
    ours: float
    unit: str
    value: float
    bound: str
    kept: bool


def ratio(what: str, script: float, ours: float, most: float, unit: str = "ms") -> Row:
    """A row that compares two times, given in seconds."""
    value = ours / script
    return Row(what, script * 1e3, ours * 1e3, unit, value, f"<= {most}", value <= most)


def line(row: Row) -> str:
    """A row as text."""
    script = f"{row.script:9.2f}" if row.script is not None else " " * 9
    verdict = "" if row.kept else "  MISSED"
    return f"{row.what:62} {script} {row.ours:9.2f} {row.unit:8} {row.value:7.3f}  {row.bound}{verdict}"
