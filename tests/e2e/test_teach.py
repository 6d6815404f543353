"""The whole way of a taught class: eight digits trained and exported, two taught from five pictures, all answered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from runtime import Classifier
from tests.support.commands import answer, call_pocketlens, run_pocketlens, succeed

TRAINED, TAUGHT = 70, 5


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/0 to train/7 with 70 scans each, teach/8 and teach/9 with five, test/0 to test/9 with about a hundred."""
    root = tmp_path_factory.mktemp("digits-to-teach")
    digits = load_digits()
    for label in range(10):
        scans = np.flatnonzero(digits.target == label)
        learnt = TRAINED if label < 8 else TAUGHT
        parts = {"train" if label < 8 else "teach": scans[:learnt], "test": scans[TRAINED:]}
        for part, numbers in parts.items():
            folder = root / part / str(label)
            folder.mkdir(parents=True)
            for number in numbers:
                pixels = (digits.images[number] * 255 / 16).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def recalls(model: Path, test: Path) -> dict[str, float]:
    """The share of each class's pictures that is answered rightly."""
    found = {}
    with Classifier(model) as classifier:
        for folder in sorted(test.iterdir()):
            labels = [classifier.classify(path, top=1)[0].label for path in folder.iterdir()]
            found[folder.name] = labels.count(folder.name) / len(labels)
    return found


def test_two_digits_are_taught_and_the_others_stay(pictures: Path, tmp_path: Path) -> None:
    succeed(
        call_pocketlens(
            *("train", "--dataset", pictures / "train", "--colour", "grey", "--image-size", "8", "--epochs", "25"),
            *("--out", tmp_path / "run"),
        )
    )
    succeed(call_pocketlens("export", tmp_path / "run", "--out", tmp_path / "models", "--embedding", "--max-drop", "1"))
    first = tmp_path / "models" / "int8.tflite"
    before = recalls(first, pictures / "test")
    model = tmp_path / "taught.tflite"
    succeed(run_pocketlens("teach", "8", pictures / "teach/8", "--model", first, "--out", model))
    found = json.loads(answer("teach", "9", pictures / "teach/9", "--json", "--model", model, "--out", model))
    assert [one["label"] for one in found["taught"]] == ["8", "9"]
    after = recalls(model, pictures / "test")
    old = [str(label) for label in range(8)]
    assert np.mean([before[label] - after[label] for label in old]) <= 0.03
    assert np.mean([after["8"], after["9"]]) >= 0.6
    assert "passed" in answer("selftest", model)
    assert "taught    9: 5 pictures" in answer("info", model)
    evaluated = json.loads(answer("evaluate", model, "--dataset", pictures / "test", "--split", "all", "--json"))
    assert evaluated["accuracy"] == pytest.approx(np.mean([*after.values()]), abs=0.01)
