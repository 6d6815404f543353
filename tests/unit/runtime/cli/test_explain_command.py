"""`pocketlens explain`: what it prints, draws and refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from runtime import InputError
from runtime.cli import explain as explain_command
from runtime.testing import FakeInterpreter
from tests.support.commands import answer, invoke, run_pocketlens, succeed
from tests.support.exports import Exported, Samples
from tests.support.external_models import converted


def test_it_prints_and_draws(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    out = tmp_path / "new" / "why.png"
    result = invoke("explain", digits_export.int8, digits_samples.files[0], "--out", out)
    assert result.exit_code == 0, result.output
    best = json.loads(answer("classify", "--json", "--model", digits_export.int8, digits_samples.files[0]))
    label, score = best["predictions"][0]["label"], best["predictions"][0]["score"]
    lines = result.stdout.splitlines()
    assert lines[0] == f"{digits_samples.files[0]}: {label} {score:.3f}"
    assert "of 8 x 8." in lines[1]
    assert lines[-1] == f"written to {out}"
    with Image.open(out) as image:
        assert image.width > 500


def test_json_has_the_grid(digits_export: Exported, digits_samples: Samples) -> None:
    found = json.loads(answer("explain", digits_export.float32, digits_samples.files[0], "--json", "--label", "3"))
    assert [*found] == [
        *("model", "picture", "label", "index", "score", "unknown", "height", "width", "drops", "full_colour"),
        *("largest_drop", "largest_rise", "region", "calls", "out"),
    ]
    assert (found["label"], found["index"], found["height"], found["width"]) == ("3", 3, 8, 8)
    assert [len(row) for row in found["drops"]] == [8] * 8
    assert found["out"] is None
    assert 140 < found["calls"] < 160
    own = json.loads(answer("explain", digits_export.int8, digits_samples.files[0], "--json"))
    assert {*own["region"]} == {"left", "top", "right", "bottom", "score_without", "share"}


def test_a_picture_comes_from_standard_input(digits_export: Exported, digits_samples: Samples) -> None:
    command = [sys.executable, "-m", "runtime.cli.main", "explain", str(digits_export.int8), "-", "--json", "--quiet"]
    done = subprocess.run(
        command, input=digits_samples.files[0].read_bytes(), capture_output=True, check=True, timeout=120
    )
    assert json.loads(done.stdout)["picture"] == "-"
    assert done.stderr == b""


def test_a_model_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "theirs.tflite").write_bytes(converted("float32"))
    (tmp_path / "labels.txt").write_text("a\nb\nc")
    Image.new("RGB", (8, 8), (200, 100, 0)).save(tmp_path / "even.png")
    arguments = (tmp_path / "theirs.tflite", tmp_path / "even.png", "--labels", tmp_path / "labels.txt")
    scaling = ("--mean", "127.5", "--std", "127.5")
    assert "No part of the picture changes the score by more than" in answer("explain", *arguments, *scaling)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("MODEL", "missing.png"), 1, "missing.png: cannot be opened"),
        (("MODEL", "."), 1, ".: a folder; name one picture"),
        (("MODEL", "https://x.org/a.png"), 1, "an address, not a file"),
        (("MODEL", "MODEL"), 1, "int8.tflite"),
        (("PICTURE", "MODEL"), 1, "an image (PNG); name a .tflite file"),
        (("MODEL", "PICTURE", "--label", "seven"), 2, "no label 'seven'; the model has 0, 1, 2"),
        (("MODEL", "PICTURE", "--out", "why.jpg"), 2, "expected a name that ends in .png"),
        (("MODEL", "PICTURE", "--out", "PICTURE"), 2, "--out is the picture itself"),
        (("MODEL",), 2, "PICTURE"),
    ],
)
def test_mistakes_are_one_line(
    digits_export: Exported,
    digits_samples: Samples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    shutil.copy(digits_export.int8, tmp_path / "int8.tflite")
    shutil.copy(digits_samples.files[0], tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    names = {"MODEL": "int8.tflite", "PICTURE": "picture.png"}
    before = (tmp_path / "picture.png").read_bytes()
    result = invoke("explain", *(names.get(argument, argument) for argument in arguments))
    assert result.exit_code == status, result.output
    assert words in result.stderr
    assert not result.stdout
    assert (tmp_path / "picture.png").read_bytes() == before


def test_features_are_refused() -> None:
    plant = FakeInterpreter(["dry", "wet"], [[0.9, 0.1]], features=("moisture", "light")).classifier()
    with pytest.raises(InputError, match="the model takes 2 features"):
        explain_command._explain(plant, "x.png", None)


def test_the_first_line_of_help_names_it() -> None:
    assert "explain" in succeed(run_pocketlens("--help")).stdout
