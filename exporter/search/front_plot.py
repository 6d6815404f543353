"""The plot of accuracy and a cost, as places in a drawing; the template makes it an SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .budget import Cost
from .summary import SearchSummary, TrialSummary, describe_network

#: Size of the drawing, and the edges of its axes: three lines of text are above. It is as wide as the narrowest page,
#: so that its text has there the size that is written here.
WIDTH, HEIGHT = 340, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 326, 62, 262
#: Shares of right answers that get a line, where they are in range.
_ACCURACIES = (0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
#: Errors below this share are drawn as this one.
_LEAST_ERROR = 5e-4


class PlotPoint(NamedTuple):
    """A trial in a plot.

    Attributes:
        trial: its number.
        x, y: of its centre.
        style: words of `front`, `preset`, `early` and `taken`.
        lines: what is said of it.
    """

    trial: int
    x: float
    y: float
    style: str
    lines: tuple[str, ...]


class PlotTick(NamedTuple):
    """A line of the grid: where it is, and its text."""

    place: float
    text: str


class FrontPlot(NamedTuple):
    """A plot.

    Attributes:
        title: what is drawn.
        axis: the name of the cost.
        points: the front last, so that it lies above the others.
        front: x and y of the corners of the line through the front.
        x_ticks, y_ticks: of the grid.
        limit: where the budget ends; None outside of the drawing.
    """

    title: str
    axis: str
    points: tuple[PlotPoint, ...]
    front: tuple[tuple[float, float], ...]
    x_ticks: tuple[PlotTick, ...]
    y_ticks: tuple[PlotTick, ...]
    limit: float | None


class _CostAxis(NamedTuple):
    title: str
    axis: str
    read: Callable[[Cost], float | None]
    setting: str
    unit: str


_AXES = (
    _CostAxis("Accuracy and size", "bytes of the int8 file", lambda cost: cost.file_bytes, "max_bytes", "B"),
    _CostAxis("Accuracy and latency", "predicted ms", lambda cost: cost.latency_ms, "max_latency_ms", ""),
)


def draw_fronts(summary: SearchSummary) -> list[FrontPlot]:
    """A plot for each cost that is known; none before two trials are done."""
    plots = (_draw(summary, axis) for axis in _AXES)
    return [plot for plot in plots if plot is not None]


def _draw(summary: SearchSummary, axis: _CostAxis) -> FrontPlot | None:
    drawn: list[tuple[TrialSummary, float, float]] = []
    for trial in summary.trials:
        cost = None if trial.cost is None else axis.read(trial.cost)
        if trial.accuracy is not None and cost:
            drawn.append((trial, cost, trial.accuracy))
    if len(drawn) < 2:
        return None
    to_x = _scale([math.log(cost) for _, cost, _ in drawn], LEFT + 8, RIGHT - 8)
    to_y = _scale([_error(accuracy) for _, _, accuracy in drawn], TOP + 8, BOTTOM - 8)
    points = [
        PlotPoint(
            trial.number, to_x(math.log(cost)), to_y(_error(accuracy)), _style(trial, summary), _say(trial, summary)
        )
        for trial, cost, accuracy in drawn
    ]
    points.sort(key=lambda point: ("front" in point.style, "taken" in point.style))
    places = {trial.number: (cost, accuracy) for trial, cost, accuracy in drawn}
    limit = (summary.settings.get("budget") or {}).get(axis.setting)
    x_limit = to_x(math.log(limit)) if limit else None
    lowest, highest = min(cost for _, cost, _ in drawn), max(cost for _, cost, _ in drawn)
    return FrontPlot(
        title=axis.title,
        axis=axis.axis,
        points=tuple(points),
        front=_stairs([(to_x(math.log(cost)), to_y(_error(accuracy))) for cost, accuracy in _front(places)]),
        x_ticks=tuple(PlotTick(to_x(math.log(value)), _short(value)) for value in _cost_ticks(lowest, highest)),
        y_ticks=_accuracy_ticks([accuracy for _, _, accuracy in drawn], to_y),
        limit=x_limit if x_limit is not None and LEFT <= x_limit <= RIGHT else None,
    )


def _scale(values: Sequence[float], first: float, last: float) -> Callable[[float], float]:
    """A linear map of the range of values to that of two places, rounded to a tenth."""
    low, high = min(values), max(values)
    if high == low:
        return lambda value: round((first + last) / 2, 1)
    return lambda value: round(first + (value - low) / (high - low) * (last - first), 1)


def _error(accuracy: float) -> float:
    """The logarithm of the share of wrong answers, in which good networks differ."""
    return math.log(max(_LEAST_ERROR, 1 - accuracy))


def _front(places: dict[int, tuple[float, float]]) -> list[tuple[float, float]]:
    """Cost and accuracy of the trials that are the most accurate up to their cost."""
    found: list[tuple[float, float]] = []
    for cost, accuracy in sorted(places.values(), key=lambda place: (place[0], -place[1])):
        if not found or accuracy > found[-1][1]:
            found.append((cost, accuracy))
    return found


def _stairs(corners: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The line below which a trial is surpassed: to the right, and then up to the next corner."""
    line = [corners[0]]
    for x, y in corners[1:]:
        line += [(x, line[-1][1]), (x, y)]
    return (*line, (RIGHT, line[-1][1]))


def _style(trial: TrialSummary, summary: SearchSummary) -> str:
    words = {
        "front": trial.number in summary.front,
        "preset": trial.is_preset,
        "early": trial.steps[-1].epochs < summary.rungs[-1],
        "taken": trial.number == summary.recommended,
    }
    return " ".join(word for word, holds in words.items() if holds)


def _say(trial: TrialSummary, summary: SearchSummary) -> tuple[str, ...]:
    assert trial.cost is not None
    assert trial.accuracy is not None
    kind = " (a preset)" if trial.is_preset else ""
    latency = "" if trial.cost.latency_ms is None else f", {trial.cost.latency_ms:.3g} ms predicted"
    return (
        f"trial {trial.number}{kind}: {100 * trial.accuracy:.2f} % after {trial.steps[-1].epochs} of "
        f"{summary.rungs[-1]} epochs",
        f"{trial.cost.file_bytes:,} bytes{latency}",
        describe_network(trial.choices),
    )


def _accuracy_ticks(accuracies: Sequence[float], to_y: Callable[[float], float]) -> tuple[PlotTick, ...]:
    """Lines at round accuracies; at the least and the greatest of the trials where no round one is between them."""
    ends = {to_y(_error(value)): value for value in (max(accuracies), min(accuracies))}
    places = {to_y(_error(value)): value for value in _ACCURACIES} if len(ends) > 1 else {}
    found = {place: value for place, value in places.items() if TOP <= place <= BOTTOM} or ends
    return tuple(PlotTick(place, f"{100 * value:.4g} %") for place, value in found.items())


def _cost_ticks(lowest: float, highest: float) -> list[float]:
    """Values of 1, 2 and 5 times a power of ten in a range; of 1 alone, or each tenth, where these are many or few."""
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    for steps in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)):
        found = [step * 10.0**power for power in powers for step in steps if lowest <= step * 10.0**power <= highest]
        if len(found) >= 3:
            break
    return found[:: math.ceil(len(found) / 6)] if found else [lowest]


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:.3g}"
