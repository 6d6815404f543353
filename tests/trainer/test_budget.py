"""`--minutes`: the epochs that fit into a time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.conftest import run_pocketlens, succeed
from trainer.datasets import Geometry, load_dataset
from trainer.errors import TrainingError
from trainer.fitting.budget import fit_into, shared_out
from trainer.spec import TrainingSpec
from trainer.training import train


@pytest.mark.parametrize("seconds", [3.0, 40.0, 100.0, 101.0, 250.0, 9999.0])
def test_the_time_is_filled_and_not_exceeded(seconds: float) -> None:
    step, validation, most = 0.1, 2.0, 980  # 100 seconds an epoch
    epochs, steps = shared_out(seconds, step, validation, most)
    taken = epochs * (steps * step + validation)
    assert 1 <= steps <= most
    assert taken <= seconds + 1e-6
    assert seconds - taken < 0.1 * epochs + 1e-6


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 2.05])
def test_too_little_time_is_told(seconds: float) -> None:
    with pytest.raises(TrainingError, match="give more minutes"):
        shared_out(seconds, 0.1, 2.0, 980)


def test_a_training_is_fitted_and_is_one_of_so_many_steps() -> None:
    data = load_dataset("digits", Geometry())
    spec = TrainingSpec("dense", units=(8,), batch_size=8)
    fitted = fit_into(spec, data, 60)
    assert fitted.epochs >= 1
    assert 1 <= fitted.steps_per_epoch <= 162
    longer = fit_into(spec, data, 600)
    assert longer.epochs * longer.steps_per_epoch > fitted.epochs * fitted.steps_per_epoch
    short = TrainingSpec("dense", units=(8,), batch_size=8, epochs=2, steps_per_epoch=5)
    run = train(short, data)
    assert len(run.history) == 2
    assert run.history[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)  # the cosine has ended


def test_the_command_tells_what_it_chose(tmp_path: Path) -> None:
    began = time.monotonic()
    options = ("--dataset", "digits", "--arch", "dense", "--units", "8", "--minutes", "0.3", "--out", tmp_path / "run")
    result = succeed(run_pocketlens("train", *options))
    settings = json.loads((tmp_path / "run/metrics.json").read_text())["settings"]
    chosen = f"--epochs {settings['epochs']} --steps-per-epoch {settings['steps_per_epoch']}"
    assert f"0.3 minutes: {chosen}" in result.stderr
    assert time.monotonic() - began < 300


@pytest.mark.parametrize("more", [("--epochs", "2"), ("--resume",), ("--distribute", "mirrored")])
def test_what_does_not_go_with_it_is_bad_usage(more: tuple[str, ...], tmp_path: Path) -> None:
    result = run_pocketlens("train", "--dataset", "digits", "--minutes", "1", *more, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert "--minutes" in result.stderr
    assert list(tmp_path.iterdir()) == []
