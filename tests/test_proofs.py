"""Full trainings on Fashion-MNIST, held against their bounds. Slow: `make proof`, not `make test`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.conftest import run_pocketlens, succeed

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("options", "accuracy", "minutes"),
    [
        pytest.param((), 0.91, 15, id="cnn"),
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
