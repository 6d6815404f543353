"""Measures how far scores are from probabilities, and the effect of a threshold on predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .predictions import Scores, Targets

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """The agreement of scores with the share of correct predictions.

    Attributes:
        error: expected calibration error, 0 to 1: the mean distance between score and share of correct predictions.
        counts: samples in each of the equally wide bins of the highest score. For multilabel, here and below: every
            label of every sample, in the bins of its score, and whether the sample has the label.
        confidence: mean highest score in each bin; 0 where the bin is empty.
        accuracy: share of correct predictions in each bin; 0 where the bin is empty.
    """

    error: float
    counts: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]


def reliability(scores: Scores, targets: Targets, bins: int = BINS) -> Reliability:
    """Expected calibration error, and the bins of the reliability diagram.

    Args:
        scores: shape (n, classes), probabilities.
        targets: shape (n,); for multilabel shape (n, labels).
        bins: equally wide, each includes its upper edge.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017.
    """
    if targets.ndim == 2:
        highest, correct = scores.reshape(-1).astype(np.float64), targets.reshape(-1) == 1
    else:
        highest, correct = scores.max(axis=1).astype(np.float64), scores.argmax(axis=1) == targets
    places = np.clip(np.ceil(highest * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    filled = np.maximum(counts, 1)
    confidence = np.bincount(places, highest, bins) / filled
    accuracy = np.bincount(places, correct.astype(np.float64), bins) / filled
    error = float((counts * np.abs(confidence - accuracy)).sum() / max(1, len(highest)))
    return Reliability(error, tuple(counts.tolist()), tuple(confidence.tolist()), tuple(accuracy.tolist()))


@dataclass(frozen=True)
class Rejection:
    """The effect of a threshold; shares are 0 to 1. For multilabel, each predicted label is a prediction of its own.

    Attributes:
        answered: samples whose best score reaches the threshold.
        false_accept_rate: share of the wrong predictions that reach it; None where none is wrong. For multilabel, share
            of the labels that samples do not have.
        accuracy: share of correct ones among the predictions that reach it; None where none does.
    """

    answered: float
    false_accept_rate: float | None
    accuracy: float | None


def rejection(scores: Scores, targets: Targets, threshold: float) -> Rejection:
    """The effect of a threshold on predictions.

    Args:
        scores: shape (n, classes).
        targets: shape (n,), n at least 1; for multilabel shape (n, labels).
    """
    reaches = scores.astype(np.float64) >= threshold
    answered = reaches.any(axis=1)
    accepted, correct = (reaches, targets == 1) if targets.ndim == 2 else (answered, scores.argmax(axis=1) == targets)
    return Rejection(
        answered=float(answered.mean()),
        false_accept_rate=None if correct.all() else float(accepted[~correct].mean()),
        accuracy=float(correct[accepted].mean()) if accepted.any() else None,
    )
