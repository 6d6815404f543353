"""The values of new trials: repeatable, within the budget as far as it is known, and near those that were accurate."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from exporter.search.budget import Cost
from exporter.search.halving import StepResult
from exporter.search.proposals import RANDOM_TRIALS
from exporter.search.space import Space
from exporter.search.study import Due, SearchStudy

pytestmark = pytest.mark.fast

SPACE = Space(1797, 4, (8,), ("grey",), quantization_aware=False)


def searched(path: Path, trials: int, accuracy: Callable[[dict[str, Any]], float], most: float = 1e9) -> list[Due]:
    """The new trials of a search in which a function stands for training; those above `most` weights are rejected."""
    drawn = []
    with SearchStudy(str(path), "data", SPACE, (4,), may_fit=lambda v: SPACE.least_weights(v) <= 2 * most) as study:
        while (due := study.next_step(trials)) is not None:
            weights = SPACE.least_weights(due.value)
            if weights > most:
                study.reject(due, Cost(weights), weights / most)
            else:
                study.finish(due, StepResult(accuracy(due.value), (float(weights),)), 1.0)
            drawn.append(due)
    return drawn


def test_the_same_results_give_the_same_values(tmp_path: Path) -> None:
    def rate(value: dict[str, Any]) -> float:
        return float(value["learning_rate"])

    first, second = (searched(tmp_path / name, 20, rate) for name in ("a.db", "b.db"))
    assert [due.value for due in first] == [due.value for due in second]
    assert len({due.value["learning_rate"] for due in first}) > 10


def test_what_cannot_fit_is_neither_a_preset_nor_drawn(tmp_path: Path) -> None:
    drawn = searched(tmp_path / "study.db", 15, lambda value: 0.5, most=10_000)
    weights = [SPACE.least_weights(due.value) for due in drawn]
    assert max(weights) <= 20_000
    assert max(weights) > 10_000  # what may fit is drawn, and was rejected here
    assert len(drawn) > 15


def test_values_come_near_the_accurate_ones_whatever_they_cost(tmp_path: Path) -> None:
    def wide(value: dict[str, Any]) -> float:
        return float(value["width_1"]) / 64

    drawn = searched(tmp_path / "study.db", 45, wide, most=40_000)
    kept = [due for due in drawn if SPACE.least_weights(due.value) <= 40_000]
    presets = sum(SPACE.least_weights(value) <= 40_000 for value in SPACE.presets())
    early, late = kept[presets:RANDOM_TRIALS], kept[-RANDOM_TRIALS:]
    median = [statistics.median(due.value["width_1"] for due in part) for part in (early, late)]
    assert median[1] > 2 * median[0]
