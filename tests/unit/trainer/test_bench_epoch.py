"""`make bench-train`: what turns its comparison of epochs red."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.timing import ROOT
from benchmarks.training import epoch

QUIET = {"s": 3.0, "user s": 4.0, "system s": 0.3, "faults a step": 3.0, "waiting %": 0.3, "peak MB": 900.0}
#: The shares of samples without a running thread, in a second of sleep and in a second of work.
SLEEPS_AND_WORKS = """
import json, time
from benchmarks.training.waiting import WaitingSampler

sampler = WaitingSampler()
sampler.start()

def share(act):
    before, end = sampler.samples, time.monotonic() + 1
    while time.monotonic() < end:
        act()
    after = sampler.samples
    return (after.waiting - before.waiting) / (after.all - before.all)

print(json.dumps([share(lambda: time.sleep(0.5)), share(lambda: sum(range(1000)))]))
"""
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
    assert sum("no thread runs" in what for what in missed(monkeypatch, **{"waiting %": 34.0})) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_waits_when_all_its_threads_sleep_however_busy_the_machine_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLEEPS_AND_WORKS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sleeping, working = json.loads(done.stdout)
    assert sleeping > 0.9
    assert working < 0.1


def test_faults_are_red(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum("faults" in what for what in missed(monkeypatch, **{"faults a step": 374.0})) == 2
