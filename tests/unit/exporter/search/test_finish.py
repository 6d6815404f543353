"""Which trial `search finish` takes; and the whole way of a search, which is killed, goes on and is finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from exporter.errors import ExportError
from exporter.recipe import ExportConfig
from exporter.search.finish import RUNS_FOLDER, FinishSettings, choose_trial, finish_trial
from exporter.search.halving import StepResult
from exporter.search.plan import SearchPlan
from exporter.search.space import Space
from exporter.search.study import SearchStudy
from tests.support.commands import ROOT, run_pocketlens, succeed
from trainer.data.run_folder import read_run


def test_it_takes_the_recommended_trial_or_the_wanted_one(tmp_path: Path) -> None:
    space = Space(1797, 3, (8,), ("grey",), quantization_aware=False)
    with SearchStudy(tmp_path / "study.db", "digest", space, (1, 3)) as study:
        with pytest.raises(ExportError, match="no trial of this search is trained yet"):
            choose_trial(study)
        for accuracy in (0.8, 0.9):
            due = study.next_step()
            assert due is not None
            study.finish(due, StepResult(accuracy, (1000.0,)), 1.0)
        assert choose_trial(study).step.trial == 1
        for size, loss in ((900.0, 0.5), (2000.0, 0.3), (1500.0, 0.4)):
            due = study.next_step()
            assert due is not None
            study.finish(due, StepResult(0.95, (size,), loss), 1.0)
        assert choose_trial(study).step.trial == 3, "the lower loss decides, not the bytes"
        assert choose_trial(study, 0).step.trial == 0
        (tmp_path / RUNS_FOLDER / "3").mkdir(parents=True)
        plan, settings = SearchPlan({"name": "digits"}), FinishSettings(ExportConfig())
        with pytest.raises(ExportError, match=r"3: trial 3 is finished already; export this run, or .*`force`$"):
            finish_trial(plan, study, choose_trial(study), tmp_path, tmp_path / "models", settings)
        with pytest.raises(ExportError, match=r"`trial` 7 is not trained; trained are 0, 1, 2, 3, 4$"):
            choose_trial(study, 7)


@pytest.mark.slow
@pytest.mark.workstation
def test_a_search_that_is_killed_goes_on_and_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "search"
    choices = [
        "search",
        "--dataset",
        "digits",
        "--max-bytes",
        "30kB",
        "--trials",
        "3",
        "--epochs",
        "3",
        "--threads",
        "1",
        "--out",
    ]
    words = [*choices, str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", *words], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not (out / "trials" / "0" / "checkpoint.npz").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = succeed(run_pocketlens(*words, "--json"))
    assert "goes on" in done.stderr
    found = json.loads(done.stdout)
    assert found == found | json.loads((out / "search.json").read_text("utf-8"))
    assert sum(bool(trial["steps"]) for trial in found["trials"]) == 3
    front = read_run(out / "trials" / str(found["front"][0]))
    assert len(front.splits["test"]) == 0
    assert (out / "search.html").stat().st_size > 5000
    more = choices.index("--trials") + 1
    silent = succeed(run_pocketlens(*words[:more], "4", *words[more + 1 :], "--quiet"))
    assert silent.stderr == ""
    other = run_pocketlens(*words, "--seed", "1")
    assert (other.returncode, "has the data set" in other.stderr) == (1, True)

    models = tmp_path / "models"
    finished = succeed(run_pocketlens("search", "finish", str(out), "--max-drop", "1", "--out", str(models), "--json"))
    report = json.loads(finished.stdout)
    assert report["search"]["trial"] == found["recommended"]
    size = (models / "int8.tflite").stat().st_size
    chosen = next(trial for trial in found["trials"] if trial["number"] == found["recommended"])
    assert abs(size - chosen["cost"]["file_bytes"]) < 100
    assert len(read_run(out / "runs" / str(found["recommended"])).splits["test"]) == 359
