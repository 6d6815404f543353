"""95 % intervals and tests of shares that are known from counts.

Written out rather than taken from scipy: each is one formula, and scipy's results differ in the last digit, which would
make two equal exports differ.
"""

from __future__ import annotations

import math
from typing import TypeAlias

#: The normal quantile of a two-sided 95 % interval.
Z_95 = 1.959963984540054

#: Lower and upper end.
Interval: TypeAlias = tuple[float, float]


def wilson_interval(successes: int, total: int, z: float = Z_95) -> Interval:
    """The score interval of a share, such as an accuracy.

    Unlike the normal approximation it stays within 0 to 1, and is useful at 0 and 1 themselves.

    Args:
        successes: at most `total`.
        total: at least 1.
        z: normal quantile; 95 % by default.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    share = successes / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At 0 and 1 rounding would leave the share itself slightly outside.
    return max(0.0, min(share, (centre - half) / scale)), min(1.0, max(share, (centre + half) / scale))


def paired_interval(lost: int, won: int, total: int, z: float = Z_95) -> Interval:
    """The interval of an accuracy drop, (lost - won) / total, between two models on the same samples.

    Args:
        lost: samples that only the first model predicts correctly.
        won: samples that only the second model predicts correctly.
        total: all samples, at least 1.
        z: normal quantile; 95 % by default.

    Source: D. G. Bonett and R. M. Price, Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data, Journal of Educational and Behavioral Statistics 37, 2012: one sample
    is added to each of the two counts, and two to the total.
    """
    n = total + 2
    p_lost, p_won = (lost + 1) / n, (won + 1) / n
    drop = p_lost - p_won
    half = z * math.sqrt((p_lost + p_won - drop * drop) / n)
    return max(-1.0, drop - half), min(1.0, drop + half)


def mcnemar_p_value(lost: int, won: int) -> float:
    """The exact two-sided p-value of the hypothesis that two models are correct equally often.

    It is twice the smaller tail of a binomial distribution with probability one half, and at most 1.

    Args:
        lost, won: as for `paired_interval`.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 12, 1947; the exact form as in A. Agresti, Categorical Data Analysis, 10.1.
    """
    total, fewer = lost + won, min(lost, won)
    term = tail = 1
    for k in range(1, fewer + 1):  # integers are never rounded
        term = term * (total - k + 1) // k
        tail += term
    return 1.0 if 2 * tail >= 1 << total else 2 * tail / (1 << total)
