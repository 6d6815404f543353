"""`pocketlens update` killed at random moments: the old model or the new one answers, and the next update goes on."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tuf")  # an extra
pytest.importorskip("cryptography")

from exporter.repository.admission import Admitted
from runtime import read_model
from runtime.deployment.slot import digest_of
from runtime.update.rings import FULL_ROLLOUT
from tests.support.slots import APP, canary_folder, release_of, slot_model
from tests.support.updates import Publisher

MODELS = {release_of(content, 1).sha256: content for content in (slot_model(1), slot_model(2))}
OLD, NEW = MODELS


def command(folder: Path) -> list[str]:
    words = ("update", "--from", folder / "repo", "--app", APP, "--into", folder / "door", "--probation", "60s")
    more = ("--root", folder / "root.json", "--canaries", folder / "canaries", "--json")
    return [sys.executable, "-m", "runtime.cli.main", *map(str, (*words, *more))]


def updated(folder: Path) -> dict[str, Any]:
    done = subprocess.run(command(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def timed(folder: Path) -> tuple[dict[str, Any], float]:
    """What an update says, and how many seconds it takes."""
    began = time.monotonic()
    return updated(folder), time.monotonic() - began


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository of two releases, and a device that has the first; not to be changed."""
    folder = tmp_path_factory.mktemp("device")
    publisher = Publisher(folder)
    old, new = (Admitted(content, b"{}", "", {}) for content in MODELS.values())
    publisher.repository.add(APP, "1.tflite", old, rollout=FULL_ROLLOUT)
    shutil.copyfile(publisher.folder / "metadata" / "1.root.json", folder / "root.json")
    canary_folder(folder / "canaries", 1)
    assert updated(folder)["status"] == "installed"
    publisher.repository.add(APP, "2.tflite", new, rollout=FULL_ROLLOUT)
    return folder


@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 3), *(pytest.param(seed, 50, marks=pytest.mark.slow) for seed in range(1, 5))]
)
def test_a_killed_update_leaves_the_old_model_or_the_new_one(
    device: Path, tmp_path: Path, seed: int, kills: int
) -> None:
    shutil.copytree(device, tmp_path / "whole")
    _, lasts = timed(tmp_path / "whole")
    chance, found = random.Random(seed), Counter[str]()
    while found.total() < kills:
        folder = tmp_path / f"{found.total()}"
        shutil.copytree(device, folder)
        process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.1, 1.0) * lasts)
        was_killed = process.poll() is None
        process.kill()
        process.wait()
        model = digest_of(folder / "door" / "model.tflite")
        assert model in MODELS, "neither the old model nor the new one"
        read_model(folder / "door" / "model.tflite")
        state = json.loads((folder / "door" / "state.json").read_text())
        assert state["current"]["sha256"] in MODELS
        if was_killed:
            found["the new model" if model == NEW else "the old model"] += 1
        again, seconds = timed(folder)
        lasts = seconds if model == OLD else lasts  # other work on this machine makes it longer and shorter
        assert again["status"] == ("current" if model == NEW else "installed")
        assert again["release"]["version"] == 2
        assert again["probation"] > 0
        assert digest_of(folder / "door" / "model.tflite") == NEW
        assert digest_of(folder / "door" / "previous.tflite") == OLD
        left = {path.name for path in (folder / "door").iterdir() if "partial" in path.name}
        assert not left
        shutil.rmtree(folder)
    print(f"{kills} kills: {dict(found)}")
