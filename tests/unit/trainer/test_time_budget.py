"""The time budget: the epochs that fit into a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from tests.support.commands import call_pocketlens
from trainer.cli.options import training_options
from trainer.cli.settings import TrainingInputs, read_training_options
from trainer.cli.train import _epochs_for_minutes
from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.errors import TrainingError
from trainer.presets import default_patience
from trainer.time_budget import epochs_and_steps, fit_to_time
from trainer.training import train


def settled(*options: str) -> TrainingInputs:
    """What `train` makes of options."""
    values: dict[str, Any] = {}

    @click.command()
    @training_options
    def command(**found: Any) -> None:
        values["settled"] = read_training_options(found | {"learning_rate": None, "patience": None})

    command.main(list(options), standalone_mode=False)
    found: TrainingInputs = values["settled"]
    return found


@pytest.mark.parametrize("seconds", [3.0, 40.0, 100.0, 101.0, 250.0, 9999.0])
def test_the_time_is_filled_and_not_exceeded(seconds: float) -> None:
    step, validation, most = 0.1, 2.0, 980  # 100 seconds an epoch
    epochs, steps = epochs_and_steps(seconds, step, validation, most)
    taken = epochs * (steps * step + validation)
    assert 1 <= steps <= most
    assert taken <= seconds + 1e-6
    assert seconds - taken < 0.1 * epochs + 1e-6


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 2.05])
def test_too_little_time_is_told(seconds: float) -> None:
    with pytest.raises(TrainingError, match="give more minutes"):
        epochs_and_steps(seconds, 0.1, 2.0, 980)


def test_more_time_gives_more_steps(capsys: pytest.CaptureFixture[str]) -> None:
    # Hours, so that the load of the machine does not matter; what is measured is 200 steps at most.
    data = load_dataset("digits", Geometry())
    config = TrainingConfig("dense", units=(8,), batch_size=8)
    fitted = fit_to_time(data, config, 3600)
    assert 1 <= fitted.steps_per_epoch <= 162
    epochs, steps = _epochs_for_minutes(data, config, 6000, sweeps=False)
    assert epochs * steps > fitted.epochs * fitted.steps_per_epoch
    told = capsys.readouterr().err
    assert f"6000 minutes: --epochs {epochs} --steps-per-epoch {steps}" in told


def test_a_pass_of_few_steps_is_measured_too() -> None:
    """What is timed goes over its end: the first steps, in which TensorFlow traces, are many times as long."""
    data = load_dataset("digits", Geometry())
    config = TrainingConfig("dense", units=(8,), batch_size=8, steps_per_epoch=3)
    fitted = fit_to_time(data, config, 60)
    assert fitted.epochs * fitted.steps_per_epoch > 60, "a step takes milliseconds, tracing seconds"


def test_a_sweep_is_part_of_the_time() -> None:
    data = load_dataset("digits", Geometry())
    with pytest.raises(TrainingError, match=r"the sweep over learning rates will take .*: none are left; give more"):
        fit_to_time(data, TrainingConfig("dense", units=(8,), batch_size=8), 60, sweep_steps=10**6)


def test_what_follows_from_the_epochs_follows_from_those_that_fit(tmp_path: Path) -> None:
    """Moved pictures are for long trainings; and --resume is given the epochs, from which the same must follow."""
    options = ("--dataset", "digits", "--size", "tiny")
    _, _, with_epochs = settled(*options)
    short, long = with_epochs(5, 2), with_epochs(50, 2)
    assert ("shift" in short.augmentation, "shift" in long.augmentation) == (False, True)
    assert long.patience == default_patience(50)
    for config in (short, long):
        assert settled(*options, "--epochs", str(config.epochs), "--steps-per-epoch", "2").config == config
    assert settled(*options, "--augment", "none").with_epochs(50, 2).augmentation == ()


def test_a_pass_of_fewer_steps_ends_its_cosine() -> None:
    data = load_dataset("digits", Geometry())
    run = train(data, TrainingConfig("dense", units=(8,), batch_size=8, epochs=2, steps_per_epoch=5))
    assert len(run.history) == 2
    assert run.history[0]["learning_rate"] > 0
    assert run.history[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)


def test_too_little_time_leaves_nothing_behind(tmp_path: Path) -> None:
    options = ("--dataset", "digits", "--arch", "dense", "--units", "8", "--minutes", "0.0001")
    result = call_pocketlens("train", *options, "--out", tmp_path / "run")
    assert result.returncode == 1
    assert "give more minutes" in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "more", [("--epochs", "2"), ("--resume",), ("--distribute", "mirrored"), ("--quantization-aware",)]
)
def test_what_does_not_go_with_it_is_bad_usage(more: tuple[str, ...], tmp_path: Path) -> None:
    result = call_pocketlens("train", "--dataset", "digits", "--minutes", "1", *more, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert "--minutes" in result.stderr
    assert list(tmp_path.iterdir()) == []
