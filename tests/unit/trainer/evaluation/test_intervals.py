"""Intervals and tests, against numbers that were published or worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from trainer.evaluation.intervals import mcnemar_p_value, paired_interval, wilson_interval

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    # R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17, 1998,
    # table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_score_interval_is_the_published_one(right: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(total - right, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_the_paired_interval_of_a_published_example() -> None:
    # Airway hyper-responsiveness of 21 children before and after a transplantation (1 against 7 differ), in
    # M. W. Fagerland, S. Lydersen, P. Laake, Statistics in Medicine 33, 2014. By hand, with 2/23 and 8/23:
    # -6/23 +- 1.96 * sqrt((10/23 - (6/23)^2) / 23) = -0.2609 +- 0.2475.
    assert paired_interval(1, 7, 21) == pytest.approx((-0.5084, -0.0134), abs=1e-4)


def test_the_paired_interval_turns_with_the_models_and_stays_within_bounds() -> None:
    low, high = paired_interval(12, 5, 1000)
    assert paired_interval(5, 12, 1000) == pytest.approx((-high, -low))
    assert low < 7 / 1000 < high
    assert paired_interval(0, 0, 10_000) == pytest.approx((-0.000277, 0.000277), abs=1e-6)
    assert paired_interval(3, 0, 3)[1] == 1.0


@pytest.mark.parametrize(
    ("lost", "won", "p_value"),
    [
        (1, 7, 0.0703125),  # the same example: 2 * (1 + 8) / 256
        (7, 1, 0.0703125),
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 10, 2 / 1024),
        (59, 6, 4.964650327e-12),
    ],
)
def test_mcnemar_is_exact(lost: int, won: int, p_value: float) -> None:
    assert mcnemar_p_value(lost, won) == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize(("lost", "won"), [(3, 9), (20, 31), (700, 800)])
def test_mcnemar_is_the_tail_of_the_binomial_distribution(lost: int, won: int) -> None:
    total = lost + won
    tail = sum(comb(total, k) for k in range(min(lost, won) + 1))
    assert mcnemar_p_value(lost, won) == float(Fraction(2 * tail, 2**total))
