"""What each module of this benchmark answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """One line.

    Attributes:
        what: what was measured.
        figures: what came out, by name and unit.
        value: the figure that is judged.
        bound: what it may be.
        kept: whether it is.
    """

    what: str
    figures: Mapping[str, float]
    value: float
    bound: str
    kept: bool

    def line(self) -> str:
        """As text."""
        figures = "  ".join(f"{name} {figure:,.1f}" for name, figure in self.figures.items())
        return f"{self.what}\n    {figures}  figure {self.value:.3f}  {self.bound}{'' if self.kept else '  MISSED'}"
