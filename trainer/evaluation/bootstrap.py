"""How well scores put pictures in order, also under resampling. Pure functions of arrays, all resamples at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .statistics import Interval

Values = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]

RESAMPLES = 500
_SEED = 0
#: So many numbers are held for a block of resamples.
_BLOCK = 4_000_000


def average_precision(scores: Scores, truth: Truth, weights: Values) -> Values:
    """The mean of the precision over the positives, each at its own score; NaN without positives.

    Args:
        scores: shape (n,). Equal scores are one threshold, in whatever order they stand.
        truth: shape (n,).
        weights: what each picture counts, shape (resamples, n).

    Returns:
        Shape (resamples,). For weights of one it is scikit-learn's `average_precision_score`.
    """
    hits, found = _accepted(scores, truth, weights)
    gained = np.diff(hits, axis=1, prepend=0)
    precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
    return share((gained * precision).sum(axis=1), hits[:, -1])


def roc_auc(scores: Scores, truth: Truth, weights: Values) -> Values:
    """The share of pairs of a positive and a negative that are in order, equal scores half; NaN without either.

    Arguments and result as of `average_precision`, but for `roc_auc_score`.
    """
    hits, found = _accepted(scores, truth, weights)
    gained = np.diff(hits, axis=1, prepend=0)
    false = np.diff(found - hits, axis=1, prepend=0)
    ordered = (false * (hits - gained / 2)).sum(axis=1)
    return share(ordered, hits[:, -1] * (found - hits)[:, -1])


def f1(answers: Truth, truth: Truth, weights: Values) -> Values:
    """Micro-averaged F1: of all labels of all pictures together; 0 where nothing is there and nothing is answered.

    Args:
        answers, truth: shape (n, labels).
        weights: shape (resamples, n).
    """
    right = weights @ (answers & truth).sum(axis=1)
    either = weights @ (answers.sum(axis=1) + truth.sum(axis=1))
    return np.nan_to_num(share(2 * right, either))


def _accepted(scores: Scores, truth: Truth, weights: Values) -> tuple[Values, Values]:
    """Positives, and pictures, at or above each distinct score, the highest first: shape (resamples, thresholds)."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    ordered = weights[:, order]
    hits = np.cumsum(ordered * truth[order], axis=1)[:, ends]
    return hits, np.cumsum(ordered, axis=1)[:, ends]


def share(part: Values, whole: Values) -> Values:
    """A part of a whole, NaN where there is none."""
    shares: Values = np.divide(part, whole, out=np.full_like(part, np.nan, dtype=np.float64), where=whole > 0)
    return shares


def resampled(count: int, resamples: int = RESAMPLES) -> Iterator[Values]:
    """How often each of so many pictures is drawn where as many are drawn with replacement, in blocks: (rows, count).

    Always the same, so that a report is the same each time, and two models are held against each other fairly.
    """
    rng = np.random.default_rng(_SEED)
    rows = max(1, _BLOCK // count)
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, count, (min(rows, resamples - start), count))
        yield np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.float64)


def percentile_interval(values: Values) -> Interval:
    """The middle 95 % of what resampling gave; resamples in which the figure is undefined are left out.

    Source: B. Efron, Bootstrap methods: another look at the jackknife, Annals of Statistics 7, 1979.
    """
    low, high = np.nanpercentile(values, (2.5, 97.5)).tolist()
    return low, high
