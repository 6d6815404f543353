"""What figures of a test split are worth: intervals, tests, calibration. Pure functions of counts and arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: The normal quantile of a two-sided 95 % interval.
Z_95 = 1.959963984540054
BINS = 15
#: From this score on a label of the task multilabel is taken to be there.
DECISION = 0.5

Interval = tuple[float, float]
Answers = npt.NDArray[np.int64]


def wilson_interval(right: int, total: int, z: float = Z_95) -> Interval:
    """The score interval of a share, such as an accuracy.

    Unlike the usual plus-minus it stays within 0 to 1, and is of use at 0 and 1 themselves.

    Args:
        right: of `total`, at least 1.
        z: normal quantile; 95 % by default.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    share = right / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At 0 and 1 rounding would leave the share itself a hair outside.
    return max(0.0, min(share, (centre - half) / scale)), min(1.0, max(share, (centre + half) / scale))


def paired_interval(lost: int, won: int, total: int, z: float = Z_95) -> Interval:
    """The interval of an accuracy drop between two models on the same pictures, as shares: (lost - won) / total.

    Args:
        lost: pictures that the first had right and the second has wrong.
        won: those that the first had wrong and the second has right.
        total: all pictures, at least 1.

    Source: D. G. Bonett and R. M. Price, Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data, Journal of Educational and Behavioral Statistics 37, 2012: one picture
    is added to each of the two counts, and two to the total.
    """
    n = total + 2
    p_lost, p_won = (lost + 1) / n, (won + 1) / n
    drop = p_lost - p_won
    half = z * math.sqrt((p_lost + p_won - drop * drop) / n)
    return max(-1.0, drop - half), min(1.0, drop + half)


def mcnemar(lost: int, won: int) -> float:
    """The exact two-sided p-value that two models are right equally often, from the pictures on which they differ.

    Twice the smaller tail of a binomial distribution with one half, at most 1; 1 where they differ nowhere.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 12, 1947; the exact form as in A. Agresti, Categorical Data Analysis, 10.1.
    """
    total, fewer = lost + won, min(lost, won)
    term = tail = 1
    for k in range(1, fewer + 1):  # whole numbers: no rounding, whatever the size
        term = term * (total - k + 1) // k
        tail += term
    return 1.0 if 2 * tail >= 1 << total else 2 * tail / (1 << total)


def confusion_matrix(targets: Answers, answers: Answers, classes: int) -> npt.NDArray[np.int64]:
    """Counts of shape (classes, classes): rows are the truth, columns the answers."""
    counts = np.bincount(targets * classes + answers, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def label_confusions(targets: Answers, answers: Answers) -> npt.NDArray[np.int64]:
    """Counts of shape (labels, 2, 2) from 0 or 1 of shape (n, labels): rows are the truth, without and with it."""
    places = 2 * targets + answers
    counts = np.stack([np.bincount(column, minlength=4) for column in places.T])
    return counts.reshape(-1, 2, 2).astype(np.int64)


def recalls(confusion: npt.NDArray[np.int64]) -> list[float | None]:
    """The share of each class's pictures that is answered right; None for a class without pictures.

    Args:
        confusion: from `confusion_matrix` or `label_confusions`.
    """
    if confusion.ndim == 3:
        right, support = confusion[:, 1, 1], confusion[:, 1].sum(axis=1)
    else:
        right, support = np.diag(confusion), confusion.sum(axis=1)
    return [int(n) / int(m) if m else None for n, m in zip(right, support, strict=True)]


@dataclass(frozen=True)
class Rejection:
    """What a threshold does; shares are 0 to 1. Of multilabel, an answer is a label that is given.

    Attributes:
        answered: pictures whose best score reaches it.
        false_accept_rate: of the wrong answers, those that reach it; None where none is wrong. Of multilabel, of all
            labels that are not on a picture.
        accuracy: of the answers that reach it, those that are right; None where none does.
    """

    answered: float
    false_accept_rate: float | None
    accuracy: float | None


def rejection(scores: npt.NDArray[np.float32], targets: Answers, threshold: float) -> Rejection:
    """What a threshold does to answers.

    Args:
        scores: shape (n, classes).
        targets: shape (n,), n at least 1; of multilabel shape (n, labels).
    """
    answered = float((scores.max(axis=1).astype(np.float64) >= threshold).mean())
    if targets.ndim == 2:
        given, there = scores.astype(np.float64) >= threshold, targets == 1
        return Rejection(
            answered,
            false_accept_rate=None if there.all() else float(given[~there].mean()),
            accuracy=float(there[given].mean()) if given.any() else None,
        )
    accepted = scores.max(axis=1).astype(np.float64) >= threshold
    right = scores.argmax(axis=1) == targets
    return Rejection(
        answered=answered,
        false_accept_rate=None if right.all() else float(accepted[~right].mean()),
        accuracy=float(right[accepted].mean()) if accepted.any() else None,
    )


@dataclass(frozen=True)
class Reliability:
    """How far scores can be taken for probabilities.

    Attributes:
        error: expected calibration error, 0 to 1: the mean distance between score and share of right answers.
        counts: pictures in each of the equally wide bins of the highest score. Of multilabel here and below: every
            label of every picture, in the bins of its score, and whether it is there.
        confidence: mean highest score in each bin; 0 where it is empty.
        accuracy: share of right answers in each bin; 0 where it is empty.
    """

    error: float
    counts: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]


def reliability(scores: npt.NDArray[np.float32], targets: Answers, bins: int = BINS) -> Reliability:
    """Expected calibration error, and the bins of the reliability diagram.

    Args:
        scores: shape (n, classes), probabilities.
        targets: shape (n,); of multilabel shape (n, labels).
        bins: equally wide, each with its upper edge.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017.
    """
    if targets.ndim == 2:
        highest, right = scores.reshape(-1).astype(np.float64), targets.reshape(-1) == 1
    else:
        highest, right = scores.max(axis=1).astype(np.float64), scores.argmax(axis=1) == targets
    places = np.clip(np.ceil(highest * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    filled = np.maximum(counts, 1)
    confidence = np.bincount(places, highest, bins) / filled
    accuracy = np.bincount(places, right.astype(np.float64), bins) / filled
    error = float((counts * np.abs(confidence - accuracy)).sum() / max(1, len(highest)))
    return Reliability(error, tuple(counts.tolist()), tuple(confidence.tolist()), tuple(accuracy.tolist()))
