"""`--minutes`: the epochs that fit into a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import call_pocketlens
from trainer.commands.train import _fitted
from trainer.datasets import Geometry, load_dataset
from trainer.errors import TrainingError
from trainer.fitting.budget import fit_into, shared_out
from trainer.presets import default_patience
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


def test_more_time_gives_more_steps(capsys: pytest.CaptureFixture[str]) -> None:
    # Hours, so that the load of the machine does not matter; what is measured is one pass at most.
    data = load_dataset("digits", Geometry())
    spec = TrainingSpec("dense", units=(8,), batch_size=8)
    fitted = fit_into(spec, data, 3600)
    assert 1 <= fitted.steps_per_epoch <= 162
    longer = _fitted(spec, data, 6000, None)
    assert longer.epochs * longer.steps_per_epoch > fitted.epochs * fitted.steps_per_epoch
    assert longer.patience == default_patience(longer.epochs)
    told = capsys.readouterr().err
    assert f"6000 minutes: --epochs {longer.epochs} --steps-per-epoch {longer.steps_per_epoch}" in told


def test_a_pass_of_fewer_steps_ends_its_cosine() -> None:
    data = load_dataset("digits", Geometry())
    run = train(TrainingSpec("dense", units=(8,), batch_size=8, epochs=2, steps_per_epoch=5), data)
    assert len(run.history) == 2
    assert run.history[0]["learning_rate"] > 0
    assert run.history[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)


def test_too_little_time_leaves_nothing_behind(tmp_path: Path) -> None:
    options = ("--dataset", "digits", "--arch", "dense", "--units", "8", "--minutes", "0.0001")
    result = call_pocketlens("train", *options, "--out", tmp_path / "run")
    assert result.returncode == 1
    assert "give more minutes" in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [("--epochs", "2"), ("--resume",), ("--distribute", "mirrored")])
def test_what_does_not_go_with_it_is_bad_usage(more: tuple[str, ...], tmp_path: Path) -> None:
    result = call_pocketlens("train", "--dataset", "digits", "--minutes", "1", *more, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert "--minutes" in result.stderr
    assert list(tmp_path.iterdir()) == []
