"""A picture that vanishes while a model trains on it: named, the best epoch kept, and trained on when it is back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Contract
from tests.support.commands import run_pocketlens, succeed
from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.data.sources import FileSource
from trainer.data.splits import make_splits
from trainer.errors import DatasetError
from trainer.fitting import checkpoint
from trainer.training import train

SPEC = TrainingConfig("dense", units=(8,), epochs=4, augmentation=("shift", "colour"), batch_size=16)
ROOT = Path(__file__).parents[4]
GEOMETRY = Geometry((8, 8), "rgb")


@pytest.fixture
def vanish_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Removes a file when a training has saved its checkpoint so many times."""

    def arrange(path: Path, epochs: int) -> bytes:
        content, save, saved = path.read_bytes(), checkpoint.save_checkpoint, []

        def saving(*arguments: Any) -> None:
            save(*arguments)
            saved.append(1)
            if len(saved) == epochs:
                path.unlink()

        monkeypatch.setattr(checkpoint, "save_checkpoint", saving)
        return content

    return arrange


def test_it_goes_on_to_the_same_result_when_the_picture_is_back(
    colour_folder: Path, tmp_path: Path, vanish_after: Any
) -> None:
    def load() -> Any:
        return load_dataset(str(colour_folder), GEOMETRY, cache="none")

    undisturbed, file = train(load(), SPEC), tmp_path / "checkpoint.npz"
    data = load()
    first = int(undisturbed.splits.train[0])
    path = colour_folder / data.source.paths[first]
    content = vanish_after(path, 2)
    stopped = train(data, SPEC, checkpoint_file=file)
    assert stopped.stopped == "unreadable"
    assert str(path) in stopped.problem
    assert len(stopped.history) == 2
    assert 1 <= stopped.best_epoch <= 2
    assert stopped.metrics.confusion.sum() == len(stopped.splits.test)
    path.write_bytes(content)
    resumed = train(load(), SPEC, checkpoint_file=file, resume=True)
    assert resumed.stopped == ""
    for one, other in zip(resumed.model.get_weights(), undisturbed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_before_the_first_epoch_ended_there_is_nothing_to_keep(colour_folder: Path, tmp_path: Path) -> None:
    data = load_dataset(str(colour_folder), GEOMETRY, cache="none")
    for path in (colour_folder / "red").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"/red/\d+\.\w+: cannot be opened"):
        train(data, SPEC, checkpoint_file=tmp_path / "checkpoint.npz")
    assert not (tmp_path / "checkpoint.npz").exists()


def test_the_command_keeps_a_run_and_a_checkpoint(colour_folder: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "run", tmp_path / ".run.checkpoint.npz"
    options = ["train", "--dataset", str(colour_folder), "--cache", "none", "--arch", "dense", "--units", "8"]
    options += ["--image-size", "8", "--epochs", "15", "--patience", "0", "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", *options],
        cwd=Path(__file__).parents[4],
        stderr=subprocess.PIPE,
        text=True,
    )
    data = load_dataset(str(colour_folder), GEOMETRY)
    trained = int(make_splits(data.targets, data.labels, data.given, 0).train[0])
    assert isinstance(data.source, FileSource)
    path = data.source.root / data.source.paths[trained]
    while child.poll() is None and not kept.exists():
        time.sleep(0.01)
    path.rename(path.with_suffix(".away"))
    _, said = child.communicate(timeout=300)
    last = said.splitlines()[-1]
    assert child.returncode == 1, said
    assert last.startswith("error: ")
    assert str(path) in last
    assert "--resume goes on after epoch" in last
    assert kept.is_file()
    assert (out / "model.keras").is_file()
    path.with_suffix(".away").rename(path)
    again = succeed(run_pocketlens(*options, "--resume", "--json"))
    assert json.loads(again.stdout)["epochs"] == 15
    assert not kept.exists()
    assert Contract.from_json((out / "contract.json").read_text()).labels == ("blue", "green", "red")
