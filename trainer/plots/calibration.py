"""Reliability diagrams: how often predictions with a given score are correct."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ..evaluation.calibration_error import Reliability

_COLOURS = ("#3060b0", "#d07020", "#30a060")


def draw_reliability(curves: Mapping[str, Reliability], *, of_labels: bool = False) -> Figure:
    """Draw the share of correct predictions by score, and how many samples have such a score.

    Args:
        curves: by name, at most three.
        of_labels: for multilabel, draw the share of samples that have the label.
    """
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="scores that are probabilities")
    for (name, curve), colour in zip(curves.items(), _COLOURS, strict=False):
        filled = np.array(curve.counts) > 0
        points = (np.array(curve.confidence)[filled], np.array(curve.accuracy)[filled])
        upper.plot(*points, "o-", color=colour, label=f"{name}: expected calibration error {curve.error:.4f}")
        lower.stairs(curve.counts, np.linspace(0, 1, len(curve.counts) + 1), color=colour)
    upper.set_ylabel("share that has the label" if of_labels else "share of correct predictions")
    upper.legend(loc="lower right" if of_labels else "upper left")
    upper.grid(alpha=0.3)
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylabel("labels" if of_labels else "images")
    lower.set_xlabel("score of a label" if of_labels else "highest score")
    return figure
