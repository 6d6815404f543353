"""The page of a search, `search.html`: one file that needs no network, and `search.json` beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from runtime.files import write_whole
from trainer.evaluation.metrics import readable
from trainer.pages.parts import Bar
from trainer.pages.templating import render

from .budget import Budget
from .front_plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_fronts
from .summary import SearchSummary, TrialSummary, describe_network, describe_training

JSON_FILE, PAGE_FILE = "search.json", "search.html"

_TEMPLATES = Path(__file__).with_name("templates")
#: Choices whose names do not say what they are.
_NAMES = {f"width_{n}": f"filters of stage {n}" for n in (1, 2, 3)} | {f"units_{n}": f"units {n}" for n in (1, 2)}
_COUNTS = ("done", "stopped", "running", "waiting", "rejected", "failed")
_COUNT_NAMES = {"done": "trained to the end", "stopped": "stopped at a rung", "rejected": "over the budget"}


class _Row(NamedTuple):
    """A trial in the table: its number, whether it is on the front, and its cells."""

    number: int
    is_front: bool
    cells: tuple[str, ...]


def write_pages(summary: SearchSummary, folder: Path) -> None:
    """Write `search.json` and `search.html` into a folder.

    Args:
        summary: from `read_summary`.
        folder: that of the search, in which the trials' folders are `trials/NUMBER`.

    Raises:
        OSError: a file cannot be written.
    """
    document = json.dumps(summary.as_dict(), indent=2) + "\n"
    write_whole(folder / JSON_FILE, document.encode())
    write_whole(folder / PAGE_FILE, search_page(summary).encode())


def search_page(summary: SearchSummary) -> str:
    """A search as an HTML page."""
    has_latency = any(trial.cost and trial.cost.latency_ms is not None for trial in summary.trials)
    has_memory = any(trial.cost and trial.cost.memory_bytes is not None for trial in summary.trials)
    costs = ["bytes", *["ms, predicted"] * has_latency, *["memory, predicted"] * has_memory]
    front = [summary.trial(number) for number in summary.front]
    metric = readable(summary.metric)
    return render(
        "search.html.j2",
        _TEMPLATES,
        title="Search for a network",
        verdict=summary.describe(),
        cards=[*_recommended(summary), _overview(summary)],
        plots=draw_fronts(summary),
        box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        metric=metric,
        front_columns=["trial", metric, "loss", *costs, "network", "folder"],
        front=[_front_row(trial, has_latency, has_memory) for trial in front],
        importance=_bars(summary),
        columns=["trial", "state", metric, "loss", "epochs", *costs, "seconds", "network", "training"],
        rows=[_row(trial, summary, has_latency, has_memory) for trial in summary.trials],
        problems=[f"trial {trial.number}: {trial.problem}" for trial in summary.trials if trial.problem],
    )


def _recommended(summary: SearchSummary) -> Iterator[dict[str, Any]]:
    if summary.recommended is None:
        return
    trial = summary.trial(summary.recommended)
    assert trial.cost is not None
    assert trial.accuracy is not None
    figures = [
        (f"{readable(summary.metric)} of int8, validation", f"{100 * trial.accuracy:.2f} %"),
        ("bytes", _number(trial.cost[0])),
    ]
    if trial.cost.latency_ms is not None:
        figures.append(("latency, predicted", f"{trial.cost.latency_ms:.3g} ms"))
    if trial.cost.memory_bytes is not None:
        figures.append(("memory, predicted", f"{_number(trial.cost.memory_bytes)} bytes"))
    figures.append(("epochs", f"{trial.steps[-1].epochs} of {summary.rungs[-1]}"))
    remarks = [describe_network(trial.choices), describe_training(trial.choices)]
    yield {"name": f"Take trial {trial.number}", "verdict": "", "style": "", "figures": figures, "remarks": remarks}


def _overview(summary: SearchSummary) -> dict[str, Any]:
    counts = summary.counts()
    figures = [("trials", _number(len(summary.trials)))]
    figures += [(_COUNT_NAMES.get(state, state), _number(counts[state])) for state in _COUNTS if state in counts]
    figures.append(("time of all steps", str(timedelta(seconds=round(sum(trial.seconds for trial in summary.trials))))))
    budget = Budget(**(summary.settings.get("budget") or {}))
    remarks = [f"budget: {budget.describe()}", f"compared after {', '.join(map(str, summary.rungs))} epochs"]
    return {"name": "The search", "verdict": "", "style": "", "figures": figures, "remarks": remarks}


def _bars(summary: SearchSummary) -> list[Bar]:
    longest = max(summary.importance.values(), default=1.0)
    return [
        Bar(_NAMES.get(name, name.replace("_", " ")), f"{100 * share:.0f} %", round(100 * share / longest), "won")
        for name, share in summary.importance.items()
    ]


def _front_row(trial: TrialSummary, has_latency: bool, has_memory: bool) -> tuple[str, ...]:
    cost = _costs(trial, has_latency, has_memory)
    return (
        str(trial.number),
        _figure(trial.accuracy),
        _figure(trial.loss),
        *cost,
        describe_network(trial.choices),
        f"trials/{trial.number}",
    )


def _row(trial: TrialSummary, summary: SearchSummary, has_latency: bool, has_memory: bool) -> _Row:
    excess = f", {trial.excess:.2f} times the budget" if trial.state == "rejected" and trial.excess else ""
    cells = (
        trial.state + excess,
        _figure(trial.accuracy),
        _figure(trial.loss),
        str(trial.steps[-1].epochs) if trial.steps else "–",
        *_costs(trial, has_latency, has_memory),
        f"{trial.seconds:,.0f}" if trial.steps else "–",
        describe_network(trial.choices),
        describe_training(trial.choices) + ", preset" * trial.is_preset,
    )
    return _Row(trial.number, trial.number in summary.front, cells)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _costs(trial: TrialSummary, has_latency: bool, has_memory: bool) -> Iterable[str]:
    cost = trial.cost
    yield "–" if cost is None else _number(cost.file_bytes)
    if has_latency:
        yield "–" if cost is None or cost.latency_ms is None else f"{cost.latency_ms:.3g}"
    if has_memory:
        yield "–" if cost is None or cost.memory_bytes is None else _number(cost.memory_bytes)


def _number(value: int) -> str:
    return f"{value:,}"
