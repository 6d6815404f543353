"""The learning rate finder: known curves, and the command on real images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.support.commands import call_pocketlens, run_pocketlens, succeed
from trainer.errors import TrainingError
from trainer.lr_finder import HIGHEST_RATE, LOWEST_RATE, analyse_sweep
from trainer.plots.history import save_sweep

RATES = np.geomspace(LOWEST_RATE, HIGHEST_RATE, 300)


def valley(noise: float) -> npt.NDArray[Any]:
    """2.3, falling around 1e-3 to 0.3 at 3e-2, and rising steeply after it."""
    position = np.log10(RATES)
    fall = 2.0 / (1 + np.exp(4 * (position + 3)))
    rise = np.exp(6 * (position + 0.8))
    return np.asarray(0.3 + fall + rise + np.random.default_rng(0).normal(0, noise, len(RATES)))


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_valley_is_read(noise: float) -> None:
    sweep = analyse_sweep(RATES, valley(noise))
    truth = RATES[valley(0).argmin()]
    assert truth / 2 < sweep.minimum < truth * 2
    assert 3e-4 < sweep.steepest < 3e-3
    assert sweep.suggestion == sweep.minimum / 10
    assert np.abs(sweep.smoothed - valley(0))[20:200].max() < 0.15


def test_a_loss_that_only_falls_has_its_minimum_at_the_end() -> None:
    sweep = analyse_sweep(RATES, np.linspace(2.3, 0.2, 300))
    assert sweep.minimum == RATES[-1]


@pytest.mark.parametrize("seed", range(5))
def test_noise_on_a_plateau_is_no_valley(seed: int) -> None:
    losses = np.random.default_rng(seed).normal(2.3, 0.1, 300)
    with pytest.raises(TrainingError, match="never fell"):
        analyse_sweep(RATES, losses)


def test_a_loss_that_only_rises_has_no_valley() -> None:
    with pytest.raises(TrainingError, match="never fell"):
        analyse_sweep(RATES, np.linspace(0.2, 2.3, 300))


@pytest.mark.parametrize("steps", [0, 9])
def test_a_sweep_that_explodes_at_once_is_told(steps: int) -> None:
    with pytest.raises(TrainingError, match=f"beyond all bounds after {steps} steps"):
        analyse_sweep(RATES[:steps], np.ones(steps))


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    sweep = analyse_sweep(RATES, valley(0.1))
    marks = {"steepest": sweep.steepest, "minimum": sweep.minimum}
    save_sweep(tmp_path / "lr.png", sweep.rates, sweep.losses, sweep.smoothed, marks)
    with Image.open(tmp_path / "lr.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
        assert len(picture.convert("RGB").getcolors(10**6)) > 10


def test_the_command_finds_a_rate_that_trains_and_gives_it_again(tmp_path: Path) -> None:
    plot = tmp_path / "pictures" / "lr.png"
    options = ("--dataset", "digits", "--arch", "dense", "--units", "32")
    printed = json.loads(succeed(call_pocketlens("find-lr", *options, "--plot", plot, "--json")).stdout)
    assert 1e-4 < printed["suggestion"] < 0.2
    assert printed["suggestion"] == printed["minimum"] / 10
    assert printed["steepest"] < printed["minimum"]
    assert printed["plot"] == str(plot)
    assert len(printed["rates"]) == len(printed["losses"]) == printed["steps"] <= 300
    assert plot.read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in plot.parent.iterdir()] == ["lr.png"]

    train = ("train", *options, "--learning-rate", "auto", "--epochs", "10", "--out", tmp_path / "run", "--json")
    result = succeed(call_pocketlens(*train))
    told = json.loads(result.stdout)
    assert told["learning_rate"] == printed["suggestion"]
    assert f"learning rate: {printed['suggestion']:.2g}, found by a sweep" in result.stderr
    assert told["test_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("command", "options", "reason"),
    [
        ("find-lr", ("--steps", "5"), "--steps"),
        ("find-lr", ("--learning-rate", "1"), "No such option"),
        ("train", ("--out", "run", "--learning-rate", "fast"), "expected a number or auto"),
    ],
)
def test_bad_usage_is_told_before_anything_is_done(
    command: str, options: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    result = run_pocketlens(command, "--dataset", "digits", *options, cwd=tmp_path)
    assert result.returncode == 2
    assert reason in result.stderr
    assert list(tmp_path.iterdir()) == []
