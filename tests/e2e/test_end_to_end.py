"""From a folder of pictures to answers, with the commands that people type."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import Classifier
from tests.support.commands import run_pocketlens, succeed
from tests.support.datasets import SHADES


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colour folder with one broken file, trained and exported."""
    from tests.support.datasets import fill_class

    root = tmp_path_factory.mktemp("end-to-end")
    for label in SHADES:
        fill_class(root / "shades" / label, label, range(40))
    (root / "shades" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    result = succeed(
        run_pocketlens(
            "train", "--dataset", root / "shades", "--out", root / "run", "--image-size", 24, "--size", "tiny"
        )
    )
    assert "left out: " in result.stderr
    assert "broken.jpg" in result.stderr
    # Twelve test images: one answer that turns over is eight points.
    succeed(run_pocketlens("export", root / "run", "--out", root / "models", "--max-drop", "0.1"))
    return root


def test_a_colour_folder_becomes_a_model_that_knows_its_colours(exported: Path, photo: Callable[[str], Path]) -> None:
    for name in ("float32.tflite", "int8.tflite"):
        classifier = Classifier(exported / "models" / name)
        assert classifier.contract.labels == tuple(SHADES)
        assert classifier.contract.input.shape == (24, 24, 3)
        for label in SHADES:
            best = classifier.classify(photo(label))[0]
            assert best.label == label
            assert best.score > 0.5


def test_the_command_says_the_same(exported: Path, photo: Callable[[str], Path]) -> None:
    path = photo("green")
    result = succeed(run_pocketlens("classify", "--json", "--model", exported / "models/int8.tflite", path))
    printed = json.loads(result.stdout)
    expected = Classifier(exported / "models/int8.tflite").classify(path)
    assert printed == {"path": str(path), "predictions": [p.as_dict() for p in expected]}


def test_the_run_lists_what_was_left_out(exported: Path) -> None:
    left_out = json.loads((exported / "run/metrics.json").read_text())["left_out"]
    assert len(left_out) == 1
    assert "broken.jpg" in left_out[0]


def test_images_that_changed_since_training_are_noticed(exported: Path) -> None:
    splits = json.loads((exported / "run/splits.json").read_text())
    path = exported / "shades" / splits["images"]["paths"][splits["test"][0]]
    original = path.read_bytes()
    try:
        for content, reason in ((original + b"\0", "changed since training"), (None, "No such file")):
            path.unlink()
            if content:
                path.write_bytes(content)
            result = run_pocketlens("export", exported / "run", "--out", exported / "again")
            assert result.returncode == 1
            assert reason in result.stderr
            assert not (exported / "again").exists()
    finally:
        path.write_bytes(original)
