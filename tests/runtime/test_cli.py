from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from runtime import Classifier
from tests.conftest import Exported, Samples, run_pocketlens, succeed

COMMANDS = ("classify", "info", "train", "export")


def test_classify_prints_a_line_an_image(digits_export: Exported, digits_samples: Samples) -> None:
    files = digits_samples.files[:3]
    result = succeed(run_pocketlens("classify", "--model", digits_export.int8, "--top", 2, *files))
    classifier = Classifier(digits_export.int8)
    expected = []
    for file, array in zip(files, digits_samples.arrays, strict=False):
        first, second = classifier.classify(array, top=2)
        expected.append(f"{file}: {first.label} {first.score:.3f}  {second.label} {second.score:.3f}")
    assert result.stdout.splitlines() == expected
    assert result.stderr == ""


def test_json_is_one_object_a_line_and_bad_images_have_theirs(
    digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    bad = tmp_path / "bad \x1b[31m.png"
    bad.write_bytes(b"not an image")
    paths = [digits_samples.files[0], bad, digits_samples.files[1], tmp_path]
    result = run_pocketlens("classify", "--json", "--model", digits_export.float32, *paths)
    assert result.returncode == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(path) for path in paths]
    assert [set(line) for line in lines] == [{"path", "predictions"}, {"path", "error"}] * 2
    expected = Classifier(digits_export.float32).classify(digits_samples.arrays[0])
    assert lines[0]["predictions"] == [{"label": p.label, "score": p.score, "index": p.index} for p in expected]
    assert "not an image" in lines[1]["error"]
    assert "regular file" in lines[3]["error"]


def test_a_bad_image_does_not_stop_the_rest(digits_export: Exported, digits_samples: Samples) -> None:
    good = digits_samples.files[0]
    result = run_pocketlens("classify", "--model", digits_export.int8, "missing.png", good)
    assert result.returncode == 1
    assert result.stdout.startswith(f"{good}: ")
    assert result.stderr.splitlines() == ["error: missing.png: cannot be opened: No such file or directory"]


def test_the_model_that_is_meant_where_none_is_named(
    digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    image = digits_samples.files[0]
    result = run_pocketlens("classify", image, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: no model: ")
    (tmp_path / "foreign.tflite").write_bytes(b"\0\0\0\0TFL3 of somebody else")
    shutil.copy(digits_export.int8, tmp_path / "ours.tflite")
    result = succeed(run_pocketlens("classify", image, cwd=tmp_path))
    assert result.stderr == "model: ours.tflite\n"
    result = succeed(run_pocketlens("classify", image, POCKETLENS_MODEL=str(digits_export.float32)))
    assert result.stderr == f"model: {digits_export.float32}\n"


def test_info(digits_export: Exported) -> None:
    text = succeed(run_pocketlens("info", digits_export.int8)).stdout
    for part in ("uint8 [1, 8, 8, 1]", "multiclass, 10 labels", "digits", "contract.json", "with no arithmetic"):
        assert part in text
    found = json.loads(succeed(run_pocketlens("info", "--json", digits_export.int8)).stdout)
    assert found["bytes"] == digits_export.int8.stat().st_size
    assert found["contract"]["labels"] == [str(n) for n in range(10)]
    assert found["feeds_raw_pixels"] is True
    assert found["contract"]["provenance"]["dataset"] == "digits"
    # The mean as the zero point, 1/std as the scale.
    assert found["input"]["zero_point"] == found["contract"]["input"]["mean"][0]
    assert found["input"]["scale"] == pytest.approx(1 / found["contract"]["input"]["std"][0], rel=1e-5)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1c\0\0\0TFL3" + bytes(1000)])
@pytest.mark.parametrize("command", ["classify --model", "info"])
def test_a_file_that_is_no_model_is_one_plain_line(command: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    result = run_pocketlens(*command.split(), path, *(["x.png"] if "classify" in command else []))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {path}: ")
    assert result.stderr.count("\n") == 1


def test_the_traceback_is_shown_only_under_debug(tmp_path: Path) -> None:
    missing = tmp_path / "none.tflite"
    assert "Traceback" not in run_pocketlens("info", missing).stderr
    result = run_pocketlens("info", "--debug", missing)
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert result.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "unknown",
        "classify",
        "classify --top 0 x.png",
        "info",
        "info --bad",
        "train",
        "export",
        "export x",
        "train --dataset digits --out x --units 4,x",
        "train --dataset digits --out x --image-size big",
    ],
)
def test_bad_usage_is_status_2(arguments: str) -> None:
    result = run_pocketlens(*arguments.split())
    assert result.returncode == 2, result.stderr
    assert "Usage: " in result.stdout + result.stderr


def test_every_command_has_help_with_an_example() -> None:
    listing = succeed(run_pocketlens("--help")).stdout
    for command in COMMANDS:
        assert f"\n  {command} " in listing
        text = succeed(run_pocketlens(command, "--help")).stdout
        assert f"Example:\n  pocketlens {command} " in text
        assert "--debug" in text
        assert "--json" in text


def test_version() -> None:
    assert runtime.__version__ in succeed(run_pocketlens("--version")).stdout


def test_a_reader_that_leaves_early_is_no_crash(digits_export: Exported, digits_samples: Samples) -> None:
    command = [sys.executable, "-m", "runtime.cli", "classify", "--model", str(digits_export.int8)]
    files = [str(path) for path in digits_samples.files] * 60
    with subprocess.Popen([*command, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 1
