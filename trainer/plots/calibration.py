"""Reliability diagrams: how often predictions with a given score are correct."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ..evaluation.calibration_error import Reliability
from .figure import series_style

_LINES = ("-", "--", "-.")
#: Areas of markers, in square points.
_SMALLEST, _LARGEST = 14, 160


def draw_reliability(curves: Mapping[str, Reliability], *, of_labels: bool = False) -> Figure:
    """Draw the share of correct predictions by score, and how many samples have such a score.

    Args:
        curves: by name, at most three.
        of_labels: for multilabel, draw the share of samples that have the label.
    """
    figure = Figure(figsize=(4.6, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="scores that are probabilities")
    for place, (name, curve) in enumerate(curves.items()):
        colour, _ = series_style(place)
        counts = np.array(curve.counts)
        filled = counts > 0
        x, y = np.array(curve.confidence)[filled], np.array(curve.accuracy)[filled]
        upper.plot(x, y, color=colour, linewidth=1, linestyle=_LINES[place], label=f"{name}: error {curve.error:.4f}")
        # The area follows the count: a bin of few samples says little.
        areas = _SMALLEST + _LARGEST * counts[filled] / max(1, counts.max())
        upper.scatter(x, y, s=areas, color=colour, alpha=0.75, edgecolors="white", linewidths=0.5, zorder=3)
        lower.stairs(counts, np.linspace(0, 1, len(counts) + 1), color=colour, linestyle=_LINES[place])
    upper.set_ylabel("share that has the label" if of_labels else "share of correct predictions")
    upper.set_ylim(-0.05, 1.05)
    upper.grid(alpha=0.3)
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper left", fontsize=9)
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylabel("labels" if of_labels else "samples")
    lower.set_xlabel("score of a label" if of_labels else "highest score")
    return figure
