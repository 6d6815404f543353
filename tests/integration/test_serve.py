"""Honest clients of `pocketlens serve` beside slow and hostile ones: small here, whole in `make proof`."""

from __future__ import annotations

import pytest

pytest.importorskip("uvicorn", reason="needs the extra [serve]")

from benchmarks.serve import measure
from benchmarks.table import Row, line
from tests.support.exports import Exported


def test_hostile_clients_harm_no_answer(digits_export: Exported) -> None:
    """The times are not held here: other tests run beside it."""
    rows = measure(digits_export.int8, requests=50, hostile=50)
    assert [row.what for row in rows if not row.kept and not row.what.startswith("99th")] == []


@pytest.mark.slow
def test_honest_clients_hardly_notice_200_hostile_ones(digits_export: Exported) -> None:
    rows: list[Row] = measure(digits_export.int8)
    print("\n".join(map(line, rows)))
    assert [row.what for row in rows if not row.kept] == []
