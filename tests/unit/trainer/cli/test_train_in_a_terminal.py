"""`train` as a person at a terminal of 80 columns sees it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.terminal import run_in_terminal

pytestmark = pytest.mark.workstation


def test_two_epochs_leave_two_lines_and_the_result(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "runtime.cli.main", "train", "--dataset", "digits", "--epochs", 2)
    # bfloat16 has a line of its own.
    found = run_in_terminal(80, *command, "--mixed-precision", "off", "--out", tmp_path / "run", PYTHONPATH=str(ROOT))
    assert found.status == 0
    assert found.cursor
    objective, head, first, second, curves, *result = found.lines
    assert objective == "loss: categorical-crossentropy (auto); output: softmax over 10 classes"
    assert head.split() == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "rate", "seconds"]
    assert [line.split()[0] for line in (first, second)] == ["1/2", "2/2"]
    assert curves.startswith("learning curves: too few epochs (2)")
    assert result[0].startswith(str(tmp_path / "run"))
    assert all(line.startswith("  ") for line in result[1:]), "the result goes on between words"
    left = [
        int(bar.split(" s left")[0].split()[-1])
        for bar in found.frames
        if bar.startswith("training") and " s left" in bar
    ]
    assert left
    assert max(left) < 30, "the first step compiles the network for seconds"
