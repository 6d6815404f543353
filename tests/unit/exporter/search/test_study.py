"""The study: presets first, budgets, promotions, going on after a kill, and other data refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("optuna")

from exporter.errors import ExportError
from exporter.search.halving import StepResult, TrialStep
from exporter.search.space import Space
from exporter.search.study import SearchStudy

SPACE = Space(1797, 4, (8,), ("grey",), quantization_aware=False)
RUNGS = (1, 4)


def open_study(folder: Path, identity: str = "same") -> SearchStudy:
    return SearchStudy(f"sqlite:///{folder / 'study.db'}", SPACE, identity, RUNGS)


def test_a_search_goes_on_after_a_kill_and_no_step_counts_twice(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    presets = SPACE.presets()
    first = study.next_step()
    assert (first.value, first.step) == (presets[0], TrialStep(0, 1))
    study.finish(first, StepResult(0.8, (900.0,)))
    killed = study.next_step()
    del study

    study = open_study(tmp_path)
    assert study.reclaim() == 1
    assert study.reclaim() == 0
    seen = {first.step: first.value}
    for number in range(12):
        due = study.next_step()
        assert due.step not in seen, "no step is done twice"
        seen[due.step] = due.value
        study.finish(due, StepResult(0.5 + number / 100, (1000.0 - number,)))
    assert seen[killed.step] == killed.value
    assert set(study.results()) == set(seen)
    assert TrialStep(0, 4) in seen  # a preset goes on in any case, with its own value
    assert seen[TrialStep(0, 4)] == presets[0]
    assert study.counts() == {
        "done": 13,
        "running": 0,
        "waiting": study.counts()["waiting"],
        "rejected": 0,
        "failed": 1,
    }


def test_rejected_and_failed_steps_are_told_apart_and_other_data_is_refused(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    study.reject(study.next_step(), 1.5)
    study.fail(study.next_step(), "out of memory")
    assert not study.results()
    counts = study.counts()
    assert (counts["rejected"], counts["failed"], counts["running"]) == (1, 1, 0)
    with pytest.raises(ExportError, match="other images"):
        open_study(tmp_path, "other")
