"""Checkpoints: a killed training resumes to the same result; a damaged or foreign checkpoint is refused."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from tests.support.commands import run_pocketlens, succeed
from tests.support.datasets import images_of
from trainer.config import TrainingConfig
from trainer.contract import package_versions
from trainer.data import Geometry, load_dataset
from trainer.data.sources import ArraySource
from trainer.errors import RunError
from trainer.fitting import checkpoint
from trainer.fitting.checkpoint import Checkpoint
from trainer.run_writer import check_target

#: Dropout, batch normalization, AdamW, augmentation, label smoothing; some 80 steps an epoch.
LONG = (
    *("train", "--dataset", "digits", "--size", "tiny", "--batch-size", "16", "--epochs", "4", "--patience", "0"),
    *("--augment", "shift,erase,colour", "--seed", "5", "--out"),
)


def start(*arguments: object) -> subprocess.Popen[str]:
    """The command in a process that hears Ctrl-C, however the tests were started."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "runtime.cli.main", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )


def wait_for_line(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith(beginning):
            return
    pytest.fail(f"{beginning!r} never came: {''.join(seen)}")


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def weights(run: Path) -> list[npt.NDArray[Any]]:
    return list(keras.saving.load_model(run / "model.keras").get_weights())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of an undisturbed training."""
    folder = tmp_path_factory.mktemp("whole")
    succeed(run_pocketlens(*LONG, folder / "run"))
    assert [path.name for path in folder.iterdir()] == ["run"]
    return folder / "run"


def assert_same(run: Path, whole: Path) -> None:
    """But for the seconds."""
    assert rows(run) == rows(whole)
    assert [row["epoch"] for row in rows(run)] == list("1234")
    for one, two in zip(weights(whole), weights(run), strict=True):
        assert one.tobytes() == two.tobytes()
    for name in ("metrics.json", "contract.json", "splits.json", "curves.png", "confusion.png"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert [path.name for path in run.parent.iterdir()] == [run.name]


def test_a_killed_training_goes_on_to_the_same_result(whole: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    process = start(*LONG, killed)
    wait_for_line(process, "epoch 2/4")
    time.sleep(0.1)  # into the next epoch
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not killed.exists()
    assert checkpoint.checkpoint_path(killed).is_file()

    with pytest.raises(RunError, match="`resume` goes on with it"):
        check_target(killed, force=False)
    resumed = succeed(run_pocketlens(*LONG, killed, "--resume"))
    assert "epoch 1/4" not in resumed.stderr
    assert "epoch 4/4" in resumed.stderr
    assert_same(killed, whole)


def test_ctrl_c_keeps_the_best_so_far_and_resume_goes_on(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(*LONG, run)
    wait_for_line(process, "epoch 1/4")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "interrupted: --resume goes on" in out
    assert "Traceback" not in err
    kept = len(rows(run))
    assert 1 <= kept < 4
    assert np.isfinite(np.concatenate([w.ravel() for w in weights(run)])).all()

    with pytest.raises(RunError, match="`resume` goes on with it"):
        check_target(run, force=False)
    resumed = succeed(run_pocketlens(*LONG, run, "--resume"))
    assert "interrupted" not in resumed.stdout
    assert_same(run, whole)


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    result = run_pocketlens(*LONG, tmp_path / "run", "--resume")
    assert result.returncode == 1
    assert "no stopped training to go on with" in result.stderr
    assert list(tmp_path.iterdir()) == []


SAVED = Checkpoint(
    model=[np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, 8], np.uint32)],
    optimizer=[np.array(40, np.int64)],
    best=[np.ones((2, 3), np.float32)],
    best_epoch=2,
    best_accuracy=0.9,
    best_loss=0.2,
    history=[{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}],
)


def same(one: Checkpoint, two: Checkpoint) -> bool:
    def plain(value: Checkpoint) -> Any:
        arrays = [*value.model, *value.optimizer, *value.best]
        told = (value.best_epoch, value.best_accuracy, value.best_loss, value.history)
        return [(a.dtype, a.shape, a.tobytes()) for a in arrays], told

    return bool(plain(one) == plain(two))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "c.npz"
    checkpoint.save_checkpoint(path, SAVED, "me")
    loaded = checkpoint.parse_checkpoint(path.read_bytes(), path, "me")
    assert same(loaded, SAVED)
    assert [found.name for found in path.parent.iterdir()] == ["c.npz"]
    with pytest.raises(RunError, match="other settings, images or versions"):
        checkpoint.parse_checkpoint(path.read_bytes(), path, "you")


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    checkpoint.save_checkpoint(path, SAVED, "me")
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [content[:length] for length in rng.integers(0, len(content), 60)]
    for place in rng.integers(0, len(content), 300):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    for candidate in [*damaged, b"", b"PK", b"no archive at all"]:
        with pytest.raises(RunError, match=r"damaged .*start anew with `force`"):
            checkpoint.parse_checkpoint(candidate, path, "me")


def test_a_full_disk_is_told_and_the_last_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    checkpoint.save_checkpoint(path, SAVED, "me")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    (tmp_path / "c.npz.partial").symlink_to(full)
    with pytest.raises(RunError, match="No space left on device") as error:
        checkpoint.save_checkpoint(path, replace(SAVED, best_epoch=3), "me")
    assert "`resume`" in str(error.value)
    loaded = checkpoint.parse_checkpoint(path.read_bytes(), path, "me")
    assert same(loaded, SAVED)
    assert [found.name for found in tmp_path.iterdir()] == ["c.npz"]


def test_the_identity_is_of_all_that_decides_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset("digits", Geometry())
    file = tmp_path / "mine.py"
    file.write_text("one")
    config = TrainingConfig(epochs=2)
    own = TrainingConfig("own", model_file=str(file))
    images = images_of(data).copy()
    images[1796, 7, 7] ^= 1
    seen = [
        checkpoint.training_identity(config, data),
        checkpoint.training_identity(replace(config, seed=1), data),
        checkpoint.training_identity(replace(config, augmentation=("shift",)), data),
        checkpoint.training_identity(replace(config, schedule="constant"), data),
        checkpoint.training_identity(replace(config, warmup=0.1), data),
        checkpoint.training_identity(replace(config, loss="focal"), data),
        checkpoint.training_identity(replace(config, scaling="unit"), data),
        checkpoint.training_identity(replace(config, train_samples=0.5), data),
        checkpoint.training_identity(replace(config, optimizer="sgd"), data),
        checkpoint.training_identity(replace(config, optimizer="sgd", momentum=0.9), data),
        checkpoint.training_identity(config, replace(data, source=ArraySource(images))),
        checkpoint.training_identity(config, replace(data, targets=data.targets[::-1].copy())),
        checkpoint.training_identity(config, replace(data, given={"test": np.arange(9)})),
        checkpoint.training_identity(own, data),
        checkpoint.training_identity(config, data, "mirrored"),
    ]
    file.write_text("two")
    seen.append(checkpoint.training_identity(own, data))
    assert len(set(seen)) == len(seen)
    assert checkpoint.training_identity(config, load_dataset("digits", Geometry())) == seen[0]
    monkeypatch.setattr(checkpoint, "package_versions", lambda: package_versions() | {"tensorflow": "2.0.0"})
    assert checkpoint.training_identity(config, data) not in seen
