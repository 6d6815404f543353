"""Few photographs of CIFAR-10 and what they teach, held against bounds. Slow: `make proof`, not `make test`.

`CIFAR_10_DIR` names a folder with `train/` and `test/`, each with ten classes of pictures.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.teaching import JUDGES, TRAINED, chosen, measure
from tests.support.commands import run_pocketlens, succeed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CIFAR_10_DIR" not in os.environ, reason="no folder of CIFAR-10's pictures: CIFAR_10_DIR"),
]


@pytest.fixture
def pictures() -> Path:
    return Path(os.environ["CIFAR_10_DIR"])


def test_thirty_pictures_a_class(pictures: Path, tmp_path: Path) -> None:
    """The weights that come with the package, on pictures enlarged to 160 pixels: what nobody could learn from 300."""
    for part, count in (("train", TRAINED), ("test", JUDGES // 10)):
        for folder in sorted((pictures / part).iterdir()):
            target = tmp_path / "thirty" / part / folder.name
            target.mkdir(parents=True)
            for file in chosen(folder, count, seed=0):
                shutil.copy(file, target)
    run, models = tmp_path / "run", tmp_path / "models"
    options = ("--arch", "efficientnet_lite0", "--image-size", "160", "--out", run)
    succeed(run_pocketlens("train", "--dataset", tmp_path / "thirty", *options, timeout=3600))
    exported = succeed(run_pocketlens("export", run, "--out", models, "--max-drop", "0.02", timeout=3600))
    print(exported.stdout)
    int8 = json.loads((models / "report.json").read_text())["models"][1]
    assert int8["accuracy"] >= 0.72
    assert int8["drop"] <= 0.01


def test_four_classes_are_taught_to_six(pictures: Path, tmp_path: Path) -> None:
    lost, recall = measure(pictures, tmp_path, seed=1, trained=TRAINED, judge="test")
    assert lost <= 5
    assert recall >= 0.4
