"""Trainings that fail: a loss that is not a number, an incomplete run folder. Earlier results are kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support.commands import call_pocketlens, succeed
from trainer import run_writer as run_folder
from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.data.run_folder import read_run
from trainer.errors import RunError
from trainer.fitting.callbacks import BestEpochKeeper, DivergedError
from trainer.training import train

QUICK = ("train", "--dataset", "digits", "--arch", "dense", "--units", "16", "--epochs", "2")
#: The rate rises over the first 5 % of the steps: the first epoch is still sane, and a later one is not.
DIVERGING = (
    *("train", "--dataset", "digits", "--arch", "dense", "--units", "256,256,256", "--activation", "elu"),
    *("--optimizer", "sgd", "--learning-rate", "10", "--epochs", "600"),
)


def test_the_last_good_model_is_kept_and_an_older_run_stays(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = call_pocketlens(*DIVERGING, "--out", out)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: the loss is not a number any more after epoch")
    assert "the last good one" in last
    assert "lower --learning-rate" in last
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["stopped"] == "diverged"
    assert metrics["best_epoch"] >= 1
    good = keras.saving.load_model(out / "model.keras")
    assert all(np.isfinite(w).all() for w in good.get_weights())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = call_pocketlens(*DIVERGING, "--out", out, "--force")
    assert again.returncode == 1
    assert f"The run at {out} stays as it was" in again.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_validation_loss_that_is_no_number_diverges() -> None:
    best = BestEpochKeeper(0)
    with pytest.raises(DivergedError):
        best.on_epoch_end(0, {"val_accuracy": 0.5, "val_loss": float("nan")})
    with pytest.raises(DivergedError):
        best.on_train_batch_end(0, {"loss": float("inf")})
    assert best.epoch == 0


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("half") / "run"
    succeed(call_pocketlens(*QUICK, "--out", out))
    return out


@pytest.mark.parametrize("missing", ["model.keras", "contract.json", "splits.json", "images.npy"])
def test_the_exporter_refuses_a_run_that_is_half_there(missing: str, small_run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    for path in small_run.iterdir():
        if path.name != missing:
            (half / path.name).write_bytes(path.read_bytes())
    with pytest.raises(RunError) as error:
        read_run(half)
    assert missing in str(error.value)
    assert "train" in str(error.value)


def test_a_cut_model_is_refused_and_the_run_is_replaced(small_run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    for path in small_run.iterdir():
        content = path.read_bytes()
        (half / path.name).write_bytes(content[: len(content) // 2] if path.name == "model.keras" else content)
    result = call_pocketlens("export", half, "--out", tmp_path / "models")
    assert result.returncode == 1
    assert "model.keras" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "models" / "int8.tflite").exists()

    (half / "splits.json").unlink()
    succeed(call_pocketlens(*QUICK, "--out", half, "--force"))
    assert len(read_run(half).source) == 1797


@pytest.mark.parametrize(
    ("out", "told"),
    [(".", "the folder that you are in"), ("../here", "the folder that you are in"), ("/proc", "a mount point")],
)
def test_a_place_that_no_run_can_take_is_told_before_the_training(
    out: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    if out == "/proc":  # a mount point that is empty wants rights to make; this one is made to look so
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "volume")
        out = str(tmp_path / "volume")
        Path(out).mkdir()
    with pytest.raises(RunError, match=f"{told}, which no run can take the place of; name a folder in it"):
        run_folder.check_target(Path(out), force=False)
    run_folder.check_target(Path(out) / "run", force=False)
    assert list(here.iterdir()) == []


def test_a_place_in_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around = tmp_path / "around"
    (around / "run").mkdir(parents=True)
    # Root may write everywhere: what the system would tell another user.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != around)
    with pytest.raises(RunError, match="around: cannot be written, and a run is made beside its place"):
        run_folder.check_target(around / "run", force=False)


def test_a_run_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "contract.json").write_text("the old one")
    trained = train(load_dataset("digits", Geometry()), TrainingConfig("dense", units=(4,), epochs=1))
    replace = Path.replace

    def fail_once(self: Path, to: Path) -> Path:
        if self.name.startswith(".run.partial-") and to == target:
            raise OSError(28, "No space left on device")
        return replace(self, to)

    monkeypatch.setattr(run_folder, "exchange", lambda *paths: False)  # as on a file system that cannot
    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises(RunError, match=r"run: the run cannot be written \(No space left on device\); make room there$"):
        run_folder.write_run(trained, target)
    assert (target / "contract.json").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
