"""Progress bars and rows of figures, as an emulated terminal shows them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.cli import progress_bar
from runtime.cli.tables import RunningTable
from runtime.progress import duration

pyte = pytest.importorskip("pyte")

from tests.support.commands import ROOT  # noqa: E402
from tests.support.terminal import Shown, run_in_terminal  # noqa: E402

pytestmark = pytest.mark.fast

#: Two epochs of 40 steps in the manner of a training, with a slow first step, and a work within the first one.
WORK = """
import logging, sys, time
from runtime.cli.app import report_progress, show_messages
from runtime.progress import progress

report_progress(); show_messages()
log = logging.getLogger("trainer.test")
with progress(80, "training") as bar:
    time.sleep(0.6)
    for epoch in (1, 2):
        for step in range(40):
            bar.update(1, f"epoch {epoch}/2  loss 0.1234  accuracy 0.5678")
            time.sleep(0.01)
        with progress(3, "scoring a file with a name that is longer than a line of a narrow terminal") as inner:
            for _ in range(3):
                inner.update(1)
                time.sleep(0.11)
        figures = {"epoch": f"{epoch}/2", "loss": 1.23456, "accuracy": 0.5, "val_loss": 1.5, "val_accuracy": 0.625}
        log.info("epoch %d in a pipe", epoch, extra={"figures": {**figures, "rate": 0.001, "seconds": "12.3"}})
log.info("a note")
print("done")
"""
WITHOUT_RICH = "import sys; sys.modules['rich'] = None"


@pytest.fixture(scope="module", params=[40, 80, 120])
def shown(request: pytest.FixtureRequest) -> tuple[int, Shown]:
    return request.param, run_in_terminal(request.param, sys.executable, "-c", WORK, PYTHONPATH=str(ROOT))


def test_one_line_an_epoch_stays_at_any_width(shown: tuple[int, Shown]) -> None:
    columns, found = shown
    assert found.status == 0
    assert found.cursor
    head, first, second, note, done = found.lines
    assert head.split() == (
        ["epoch", "loss", "acc", "vloss", "vacc", "rate", "s"]
        if columns == 40
        else ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "rate", "seconds"]
    )
    assert (first.split(), second.split()) == (
        tuple([n, "1.235", ".500", "1.500", ".625", ".001", "12.3"] for n in "12")
        if columns == 40
        else tuple([f"{n}/2", "1.2346", "0.5000", "1.5000", "0.6250", "0.0010", "12.3"] for n in "12")
    )
    assert len(head) == len(first) == len(second)
    assert (note, done) == ("a note", "done")


def test_the_bar_tells_how_far_it_is(shown: tuple[int, Shown]) -> None:
    columns, found = shown
    bars = [frame for frame in found.frames if frame.startswith("training")]
    assert any("epoch 2/2" in bar and "%" in bar and " s left" in bar for bar in bars)
    assert any(bar.count("━") > 3 for bar in bars) == (columns > 40)
    assert any("loss 0.1234" in bar for bar in bars if " s left" in bar) == (columns >= 80)
    assert all(len(bar) < columns for bar in bars)
    seconds = {int(bar.split(" s left")[0].split()[-1]) for bar in bars if " s left" in bar}
    assert max(seconds) <= 3, "the first step takes sixty times as long as the others"


@pytest.mark.parametrize("columns", [40, 80])
def test_a_device_has_no_rich_and_needs_one_line(columns: int) -> None:
    code = WITHOUT_RICH + WORK.replace("log.info", "(lambda *_, **__: None)")
    found = run_in_terminal(columns, sys.executable, "-c", code, PYTHONPATH=str(ROOT))
    assert found.lines == ["done"]
    assert any(frame.startswith("training") and " s left" in frame for frame in found.frames)
    assert any(frame.startswith("scoring a file") for frame in found.frames)


def test_a_pipe_gets_plain_lines() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, cwd=ROOT, check=True)
    assert [line.split(" a file")[0] for line in done.stderr.splitlines()] == [
        *("training", "scoring", "epoch 1 in a pipe", "scoring", "epoch 2 in a pipe", "a note")
    ]


def test_a_terminal_that_cannot_go_back_gets_plain_lines() -> None:
    found = run_in_terminal(80, sys.executable, "-c", WORK, PYTHONPATH=str(ROOT), TERM="dumb")
    assert found.lines[0] == "training"
    assert "epoch 1 in a pipe" in found.lines


def test_names_are_repeated_and_no_row_is_too_long() -> None:
    table = RunningTable()
    row: dict[str, str | float] = {"epoch": "100/200", "loss": 0.00012, "val_mean_average_precision": 1.0}
    lines = [line for _ in range(25) for line in table.lines(row, 60)]
    assert [number for number, line in enumerate(lines) if "loss" in line] == [0, 21]
    assert lines[1].split() == ["100/200", "1e-04", "1.0000"]
    for width in (10, 20, 30):
        assert all(len(line) <= width for line in RunningTable().lines(row, width))


def test_the_time_left_forgets_the_longest_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar: Any = progress_bar._Bar(1000, "training")
    for step in range(20):
        now += 60.0 if step in (0, 10) else 1.0  # the first step, and the first validation
        bar.update(1)
        if step == 8:
            assert bar.seconds_left() == pytest.approx(991)
    assert bar.seconds_left() == pytest.approx(980)


def test_a_bar_of_unknown_length_has_no_share() -> None:
    bar: Any = progress_bar._Bar(0, "downloading")
    assert "".join(bar.line(80, "#", "-")).split() == ["downloading"]


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (150, "2 min"), (8000, "2 h 13 min")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_rich_is_loaded_for_a_bar_alone(tmp_path: Path) -> None:
    code = "import sys, runtime.cli.app, runtime.cli.progress_bar as bars; bars.begin_bar(2, 'x'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "rich" not in done.stdout.split()
