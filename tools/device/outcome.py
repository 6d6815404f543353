"""The results of the tests on each system, read from pytest's report, and a table of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: The property that on_device.py records, by column.
FIGURES = {
    "images": "images",
    "int8 difference": "int8 difference",
    "rows": "int8 rows that differ",
    "top-1": "int8 agreement",
    "float32 difference": "float32 difference",
    "JPEG pixels": "pixels lossy difference",
    "PNG pixels": "pixels lossless difference",
}
HOST = ("machine", "python", "interpreter", "numpy", "pillow")


@dataclass(frozen=True)
class Outcome:
    """The results on one system.

    Attributes:
        problem: the reason of a failure, or "".
        prepared_s, tested_s: wall-clock time.
        counts: tests passed, failed (errors too) and skipped.
        skips: the reason of each skipped test.
        figures: the properties that on_device.py recorded.
    """

    name: str
    problem: str
    prepared_s: float
    tested_s: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    skips: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether tests ran, none failed, and the comparison of answers was one of them."""
        return not self.problem and self.counts.get("passed", 0) > 0 and "int8 difference" in self.figures

    @classmethod
    def read(cls, name: str, problem: str, prepared_s: float, tested_s: float, report: Path) -> Outcome:
        """Read pytest's report, in JUnit's XML. A missing report counts as a failure."""
        try:
            root = ET.parse(report).getroot()
        except (OSError, ET.ParseError) as error:
            return cls(name, f"{problem or 'no report'}: {error}", prepared_s, tested_s)
        cases = list(root.iter("testcase"))
        failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
        skips = [mark.get("message", "") for case in cases for mark in case.findall("skipped")]
        counts = {"passed": len(cases) - len(failed) - len(skips), "failed": len(failed), "skipped": len(skips)}
        figures = {item.get("name", ""): item.get("value", "") for item in root.iter("property")}
        if failed and not problem:
            problem = f"{len(failed)} failed"
        return cls(name, problem, prepared_s, tested_s, counts, skips, figures)


def print_table(outcomes: Sequence[Outcome]) -> None:
    """Print for each system its software, its results, and how far its answers are from this machine's."""
    for outcome in outcomes:
        for reason, count in Counter(outcome.skips).items():
            print(f"skipped on {outcome.name}: {count} test{'s' * (count > 1)}: {reason}")
    header = ("target", *HOST, "passed", "failed", "skipped", *FIGURES, "prepared s", "tested s", "result")
    rows = [header]
    for outcome in outcomes:
        counts = [str(outcome.counts.get(key, "-")) for key in ("passed", "failed", "skipped")]
        host = [outcome.figures.get(key, "-") for key in HOST]
        figures = [outcome.figures.get(key, "-") for key in FIGURES.values()]
        times = (f"{outcome.prepared_s:.0f}", f"{outcome.tested_s:.0f}")
        rows.append((outcome.name, *host, *counts, *figures, *times, "passed" if outcome.passed else "FAILED"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nThe largest differences from this machine's tflite-runtime: of 255 for int8 and pixels, of 1 for float32.")
    for outcome in outcomes:
        if not outcome.passed:
            print(f"error: {outcome.name}: {outcome.problem or 'the answers were not compared'}")
