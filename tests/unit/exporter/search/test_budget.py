"""What a network may cost: every limit counts, and the nearest cost is named where nothing fits."""

from __future__ import annotations

import pytest

from exporter.search.budget import Budget, BytesAlone, Cost

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        (Budget(), True),
        (Budget(max_bytes=1000), True),
        (Budget(max_bytes=999), False),
        (Budget(max_latency_ms=2.0), True),
        (Budget(max_bytes=2000, max_latency_ms=1.9), False),
        (Budget(max_memory_bytes=4999), False),
    ],
)
def test_every_limit_counts(budget: Budget, fits: bool) -> None:
    assert budget.fits(Cost(1000, 2.0, 5000)) is fits


def test_the_nearest_cost_is_named_where_nothing_fits() -> None:
    budget = Budget(max_bytes=100, max_latency_ms=1.0)
    costs = [Cost(150, 9.0), Cost(180, 0.5), Cost(500, 0.1)]
    assert not any(map(budget.fits, costs))
    assert budget.nearest(costs) == Cost(180, 0.5)
    assert Budget().nearest([]) is None


def test_costs_and_budgets_say_what_is_predicted() -> None:
    assert BytesAlone().cost_of(b"12345") == Cost(5)
    assert (
        Cost(1234, 2.345678, 9000).describe() == "1,234 bytes, 2.35 ms (predicted), 9,000 bytes of memory (predicted)"
    )
    assert Budget(max_bytes=30_000, max_latency_ms=20).describe() == "30,000 bytes, 20 ms"
    assert Budget().describe() == "no limit"
