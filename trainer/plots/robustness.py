"""Draws figures under corruptions by severity, and a picture under each corruption."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from runtime.files import shown

from ..evaluation.comparison import metric_title
from ..evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from ..evaluation.robustness import Robustness
from .figure import DPI, save_png, series_style, shorten, show_as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Pixels of an image in a strip, and between two.
_SIDE, _GAP = 96, 4
_COLUMNS = 3


def draw_corruption_panels(models: Mapping[str, Robustness]) -> dict[str, Figure]:
    """A figure for each corruption: the metric by severity, a line for each model; for pages also read on a phone."""
    panels = {}
    for name in CORRUPTIONS:
        figure = panels[name] = Figure(figsize=(3.4, 2.7), layout="constrained")
        axes = figure.subplots()
        _draw_panel(axes, name, models)
        if len(models) > 1:
            show_as_text(axes.legend(fontsize=8, loc="lower left"))
    return panels


def save_corruption_curves(path: Path, models: Mapping[str, Robustness], title: str) -> None:
    """Draw all panels into one file.

    Raises:
        OSError: the file cannot be written.
    """
    rows = -(-len(CORRUPTIONS) // _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.5 * rows + 0.4), layout="constrained")
    for axes, name in zip(figure.subplots(rows, _COLUMNS).flat, CORRUPTIONS, strict=True):
        _draw_panel(axes, name, models)
        axes.set_title(name, fontsize=10)
    figure.suptitle(shorten(shown(title), 110), fontsize=10, parse_math=False)
    save_png(path, figure)


def _draw_panel(axes: Axes, name: str, models: Mapping[str, Robustness]) -> None:
    for place, (model, found) in enumerate(models.items()):
        colour, marker = series_style(place)
        values = (found.clean, *found.by_corruption[name])
        # The first line is wide and has large markers: where the others are equal, both are seen.
        style = {"linestyle": "--", "markersize": 4} if place else {"linewidth": 3, "markersize": 8}
        axes.plot((0, *SEVERITIES), values, marker=marker, color=colour, label=shorten(model), clip_on=False, **style)
        axes.axhline(found.clean, color=colour, linestyle=":", linewidth=1)
    metric = metric_title(next(iter(models.values())).metric)
    axes.set(ylim=(0, 1), xlim=(0, SEVERITIES[-1]), xticks=(0, *SEVERITIES), xlabel="severity", ylabel=metric)
    axes.grid(alpha=0.3)


def corruption_strip(pixels: npt.NDArray[np.uint8], name: str, seed: int = 0) -> npt.NDArray[np.uint8]:
    """An image as it is, then under a corruption at each severity, side by side; uint8 (height, width, 3).

    Args:
        pixels: uint8, shape (height, width, 1 or 3), red first.
    """
    scale = _SIDE / max(pixels.shape[:2])
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    strip = np.full((height, (width + _GAP) * (1 + len(SEVERITIES)) - _GAP, 3), 255, np.uint8)
    for severity in (0, *SEVERITIES):
        image = np.broadcast_to(corrupt(pixels, name, severity, seed), (*pixels.shape[:2], 3))
        left = severity * (width + _GAP)
        strip[:, left : left + width] = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), resample)
    return strip


def save_corruption_examples(path: Path, pixels: npt.NDArray[np.uint8], title: str, seed: int = 0) -> None:
    """Draw one image under each corruption at each severity, a row each.

    Args:
        pixels: uint8, shape (height, width, 1 or 3), red first.

    Raises:
        OSError: the file cannot be written.
    """
    strips = {name: corruption_strip(pixels, name, seed) for name in CORRUPTIONS}
    height, width, _ = next(iter(strips.values())).shape
    margin, head = 84, 48
    step = height + _GAP
    canvas = np.full((head + step * len(strips), margin + width + _GAP, 3), 255, np.uint8)
    figure = Figure(figsize=(canvas.shape[1] / DPI, canvas.shape[0] / DPI))
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    text: dict[str, Any] = {"va": "center", "fontsize": 8, "parse_math": False}
    axes.text(8, 14, shorten(title, canvas.shape[1] // 7), weight="bold", **text)
    for severity in (0, *SEVERITIES):
        centre = margin + (width + _GAP) / (1 + len(SEVERITIES)) * (severity + 0.5)
        axes.text(centre, 36, f"severity {severity}" if severity else "as it is", ha="center", **text)
    for place, (name, strip) in enumerate(strips.items()):
        top = head + place * step
        canvas[top : top + height, margin : margin + width] = strip
        axes.text(8, top + height / 2, name, **text)
    axes.imshow(canvas, interpolation="nearest")
    axes.set(xlim=(0, canvas.shape[1]), ylim=(canvas.shape[0], 0))
    save_png(path, figure)
