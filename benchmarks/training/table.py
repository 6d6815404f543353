"""The rows that each module of this benchmark yields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """One comparison.

    Attributes:
        what: the measured work.
        figures: all figures, by name and unit.
        value: the figure that the bound applies to.
        bound: the bound, as text.
        kept: whether the bound is kept.
    """

    what: str
    figures: Mapping[str, float]
    value: float
    bound: str
    kept: bool

    def line(self) -> str:
        """The row as text."""
        figures = "  ".join(f"{name} {figure:,.1f}" for name, figure in self.figures.items())
        return f"{self.what}\n    {figures}  figure {self.value:.3f}  {self.bound}{'' if self.kept else '  MISSED'}"
