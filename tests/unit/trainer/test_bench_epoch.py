"""`make bench-train`: what turns its comparison of epochs red."""

from __future__ import annotations

import pytest

from benchmarks.training import epoch

QUIET = {"s": 3.0, "user s": 4.0, "system s": 0.3, "faults a step": 3.0, "idle %": 26.0, "peak MB": 900.0}
GROWTH = {f"epoch {number} MB": 900.0 for number in (epoch.EARLY, epoch.LATE)}


def missed(monkeypatch: pytest.MonkeyPatch, **ours: float) -> list[str]:
    """The rows whose bounds our training misses when it has these figures, and all others have quiet ones."""

    def run(name: str, one_dnn: bool) -> dict[str, float]:
        return GROWTH if name == "growth" else QUIET | ours if name == epoch.OURS else QUIET

    monkeypatch.setattr(epoch, "_run", run)
    return [row.what for row in epoch.rows(1) if not row.kept]


def test_an_epoch_like_the_bare_step_is_green(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missed(monkeypatch) == []


def test_a_wait_at_the_end_of_each_pass_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum("idle share" in what for what in missed(monkeypatch, **{"idle %": 63.0})) == 2


def test_faults_are_red(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum("faults" in what for what in missed(monkeypatch, **{"faults a step": 374.0})) == 2
