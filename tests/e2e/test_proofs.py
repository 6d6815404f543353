"""Full trainings on Fashion-MNIST, held against their bounds. Slow: `make proof`, not `make test`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.commands import run_pocketlens, succeed
from tests.support.qat_networks import UNEVEN

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("options", "accuracy", "minutes"),
    [
        pytest.param((), 0.93, 15, id="cnn"),
        pytest.param(("--arch", "dense", "--units", "128", "--epochs", "10"), 0.88, 15, id="dense 128"),
        pytest.param(("--arch", "dense", "--units", "4,4"), 0.80, 15, id="dense 4,4"),
    ],
)
def test_fashion_mnist(options: tuple[str, ...], accuracy: float, minutes: float, tmp_path: Path) -> None:
    started = time.monotonic()
    succeed(run_pocketlens("train", "--dataset", "fashion-mnist", "--out", tmp_path / "run", *options, timeout=3600))
    exported = succeed(run_pocketlens("export", tmp_path / "run", "--out", tmp_path / "models", timeout=3600))
    spent = (time.monotonic() - started) / 60
    print(f"{' '.join(options) or 'defaults'}: {spent:.1f} minutes\n{exported.stdout}")
    int8 = json.loads((tmp_path / "models/report.json").read_text())["models"][1]
    assert int8["accuracy"] >= accuracy
    assert int8["drop"] <= 0.003
    assert int8["bytes"] <= 150_000
    assert spent <= minutes


def test_a_constant_rate_reaches_what_keras_reaches_on_circles() -> None:
    """The lessons' settings, over five seeds, within two standard errors."""
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", "circles", "--json"], capture_output=True, text=True, timeout=1800
    )
    rows = [json.loads(line) for line in found.stdout.splitlines()[1:]]
    print(found.stdout)
    assert [row["kept"] for row in rows] == [True, True], found.stderr
    assert found.returncode == 0
    assert rows[0]["figures"]["ours (%)"] >= 75


def test_quantization_aware_training_wins_back_most_of_the_drop(tmp_path: Path) -> None:
    """On a network whose channels are of very different size, measured on the files in the device's interpreter."""
    network = tmp_path / "uneven.py"
    network.write_text(UNEVEN)
    found = {}
    for name, options in (("ordinary", ()), ("aware", ("--quantization-aware",))):
        run, models = tmp_path / name, tmp_path / f"{name}-models"
        ordered = ("train", "--dataset", "fashion-mnist", "--model-file", network, "--epochs", 10, *options)
        print(succeed(run_pocketlens(*ordered, "--out", run, timeout=3600)).stdout)
        succeed(run_pocketlens("export", run, "--out", models, "--max-drop", 1, timeout=3600))
        report = json.loads((models / "report.json").read_text())
        found[name] = [model["accuracy"] for model in report["models"]]
    float32, before = found["ordinary"]
    after = found["aware"][1]
    print(f"float32 {float32:.4f}, int8 after training {before:.4f}, after quantization-aware training {after:.4f}")
    assert float32 - before >= 0.02
    assert after - before >= 0.7 * (float32 - before)
