"""The report: plain values for `report.json`, and the table that people read."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .accuracy import Scored
from .recipes import Recipe
from .run import Run

_PACKAGES = ("pocketlens", "tensorflow", "keras", "numpy", "pillow")
_COLUMNS = ("file", "bytes", "test accuracy", "drop (points)", "agreement", "ms/image", "gate")


@dataclass(frozen=True)
class MeasuredModel:
    """One file as it was made and measured; accuracies, drop and agreement are shares, 0 to 1."""

    recipe: Recipe
    content: bytes
    scored: Scored
    drop: float
    agreement: float
    gate: str

    @property
    def failed(self) -> bool:
        """Whether it lost more than it may."""
        return self.gate == "failed"

    def as_dict(self, file_name: str) -> dict[str, Any]:
        """Its entry in `report.json`."""
        return {
            "file": file_name,
            "mode": self.recipe.mode,
            "io": self.recipe.io,
            "bytes": len(self.content),
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "accuracy": self.scored.accuracy,
            "drop": self.drop,
            "agreement": self.agreement,
            "latency_ms": self.scored.latency_ms,
            "interpreter": self.scored.interpreter,
            "gate": self.gate,
        }


def make_report(run: Run, settings: dict[str, Any], models: dict[str, MeasuredModel]) -> dict[str, Any]:
    """All figures of an export, ready for JSON; `models` by the name of the file that each becomes."""
    made = run.contract.provenance
    return {
        "version": 1,
        "dataset": made.dataset,
        "splits": {name: len(indices) for name, indices in run.splits.items()},
        "seed": made.seed,
        **settings,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "trained_with": dict(made.packages),
        "passed": not any(model.failed for model in models.values()),
        "models": [model.as_dict(name) for name, model in models.items()],
    }


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write `report.json`."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def table(report: dict[str, Any]) -> Iterator[str]:
    """The report's models as lines of a table."""
    rows = [list(_COLUMNS)]
    for model in report["models"]:
        rows.append(
            [
                model["file"],
                f"{model['bytes']:,}",
                f"{model['accuracy']:.4f}",
                f"{100 * model['drop']:.2f}",
                f"{model['agreement']:.4f}",
                f"{model['latency_ms']['median']:.3f}",
                model["gate"],
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *rest])
