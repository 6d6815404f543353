"""Confident learning: which labels of a data set are most likely wrong, from out-of-fold scores.

Source: C. G. Northcutt, L. Jiang, I. L. Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, Journal
of Artificial Intelligence Research 70, 2021: thresholds and confident joint (3.1), calibration to the counts of the
given labels, ranking by the normalized margin (3.2). The package cleanlab has much more; these formulas are a few
lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .predictions import Places, Scores


@dataclass(frozen=True)
class LabelErrors:
    """The labels that are most likely wrong.

    Attributes:
        places: of the samples whose label is most likely wrong, int64, the likeliest first.
        suggested: the class that each of them is most likely of, int64, of the same length.
        margins: the score of the given label minus the highest score of another one, -1 to 1, of the same length.
        joint: the confident joint, int64 of shape (classes, classes): how many samples with the label of the row are
            confidently of the class of the column.
        estimated: how many labels of all samples are wrong by the calibrated joint.
    """

    places: Places
    suggested: npt.NDArray[np.int64]
    margins: npt.NDArray[np.float64]
    joint: npt.NDArray[np.int64]
    estimated: int


def find_label_errors(scores: Scores, given: npt.NDArray[np.int64]) -> LabelErrors:
    """The samples off the diagonal of the confident joint, and up to the estimated number those of the least margins.

    A sample is confidently of a class if the score of the class reaches the mean score of the samples that have it as
    their label. Of several such classes, the one with the highest score counts. So a class that the network is less
    sure of has a lower threshold than others. A network that was trained for few epochs is sure of few samples; so the
    list is filled, up to the number of errors that the calibrated joint gives, with samples of which another class has
    the highest score. All of them are ordered by their normalized margin.

    Args:
        scores: float32, shape (n, classes): of a model that has not learned from the sample.
        given: the labels, shape (n,).
    """
    classes, rows = scores.shape[1], np.arange(len(given))
    values = scores.astype(np.float64)
    own = values[rows, given]
    counts = np.bincount(given, minlength=classes)
    sums = np.bincount(given, weights=own, minlength=classes)
    # A class without samples has no threshold, and nothing is confidently of it.
    thresholds = np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)
    confident = np.where(values >= thresholds, values, -1.0)
    best = confident.argmax(axis=1)
    counted = confident[rows, best] >= 0
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (given[counted], best[counted]), 1)

    others = values.copy()
    others[rows, given] = -np.inf
    margins = own - others.max(axis=1)
    is_confident = counted & (best != given)
    estimated = _estimated(joint, counts)
    order = np.argsort(margins, kind="stable")
    likeliest = np.zeros(len(given), bool)
    likeliest[order[:estimated]] = True
    places = order[(is_confident | (likeliest & (margins < 0)))[order]]
    suggested = np.where(is_confident, best, others.argmax(axis=1))
    return LabelErrors(places, suggested[places], margins[places], joint, estimated)


def _estimated(joint: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> int:
    """The sum off the diagonal of the joint after each row was scaled to the number of samples with its label."""
    confident = joint.sum(axis=1)
    wrong = confident - np.diag(joint)
    shares = np.divide(wrong, confident, out=np.zeros(len(counts)), where=confident > 0)
    return round(float(shares @ counts))
