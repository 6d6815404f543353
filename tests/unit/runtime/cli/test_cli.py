from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import runtime
from runtime import Classifier
from runtime.tflite.arena import arena_bytes
from runtime.tflite.workload import read_workload
from tests.support.commands import run_pocketlens, succeed
from tests.support.exports import Exported, Samples

COMMANDS = ("classify", "watch", "info", "bench", "doctor", "train", "export")


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "arguments", [("classify", "--model", "MODEL", "IMAGE"), ("info", "MODEL"), ("--help",), ("info", "-h")]
)
def test_a_full_standard_output_is_an_error_of_one_line(
    arguments: tuple[str, ...], digits_export: Exported, digits_samples: Samples
) -> None:
    names = {"MODEL": str(digits_export.int8), "IMAGE": str(digits_samples.files[0])}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "runtime.cli.main", *(names.get(argument, argument) for argument in arguments)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_one_object_a_line_and_bad_images_have_theirs(
    digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    bad = tmp_path / "bad \x1b[31m.png"
    bad.write_bytes(b"not an image")
    paths = [digits_samples.files[0], bad, digits_samples.files[1], "/dev/null"]
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


def test_csv_has_a_header_and_a_line_an_answer(digits_export: Exported, digits_samples: Samples) -> None:
    files = digits_samples.files[:2]
    result = run_pocketlens("classify", "--csv", "--top", 2, "--model", digits_export.int8, *files, "a,b.png")
    assert result.returncode == 1
    rows = list(csv.reader(result.stdout.splitlines()))
    assert rows[0] == ["path", "label", "score", "index", "error"]
    assert [row[0] for row in rows[1:]] == [str(files[0])] * 2 + [str(files[1])] * 2 + ["a,b.png"]
    classifier = Classifier(digits_export.int8)
    best = classifier.classify(digits_samples.arrays[0])[0]
    assert rows[1][1:] == [best.label, str(best.score), str(best.index), ""]
    assert rows[5][1:4] == ["", "", ""]
    assert "cannot be opened" in rows[5][4]


def paths_of(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [json.loads(line)["path"] for line in result.stdout.splitlines()]


def test_folders_globs_and_lists(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    for name in ("b.png", "a.PNG", "deep/c.png", "deep/deeper/d.png", "odd[1].png"):
        shutil.copy(digits_samples.files[0], tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "list").write_text("b.png\n\ndeep/c.png\n")
    command = ("classify", "--json", "--model", digits_export.int8)
    for arguments, wanted in (
        ((".",), ["./a.PNG", "./b.png", "./odd[1].png"]),
        (("-r", "."), ["./a.PNG", "./b.png", "./odd[1].png", "./deep/c.png", "./deep/deeper/d.png"]),
        (("*.png",), ["b.png", "odd[1].png"]),
        (("**/d.png",), ["deep/deeper/d.png"]),
        (("odd[1].png",), ["odd[1].png"]),
        (("--from-file", "list", "a.PNG"), ["a.PNG", "b.png", "deep/c.png"]),
    ):
        assert paths_of(succeed(run_pocketlens(*command, *arguments, cwd=tmp_path))) == wanted
    for arguments, reason in (
        (("*.gif",), "nothing matches"),
        (("deep/deeper/..",), None),
        (("empty",), "--recursive looks"),
        (("-r", "empty"), "no images in this folder"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        result = run_pocketlens(*command, *arguments, cwd=tmp_path)
        assert result.returncode == (0 if reason is None else 1)
        assert reason is None or reason in json.loads(result.stdout)["error"]
    assert run_pocketlens(*command, "--from-file", "none", cwd=tmp_path).returncode == 1


def test_pictures_that_are_passed_over_are_counted_by_suffix(
    digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    (tmp_path / "deep" / ".cache").mkdir(parents=True)
    names = ("a.png", ".b.png", "c.heic", "d.HEIC", "e.dng", "f", "g.mpo", "deep/h.avif", "deep/.cache/i.png")
    for name in names:
        shutil.copy(digits_samples.files[0], tmp_path / name)
    command = ("classify", "--json", "--model", digits_export.int8)
    result = succeed(run_pocketlens(*command, ".", cwd=tmp_path))
    assert paths_of(result) == ["./a.png", "./g.mpo"]
    (line,) = result.stderr.splitlines()
    assert "passed over 2 .heic, 1 without a suffix, 1 .dng;" in line
    result = succeed(run_pocketlens(*command, "-r", ".", cwd=tmp_path))
    assert paths_of(result) == ["./a.png", "./g.mpo"]
    assert "2 .heic, 1 without a suffix, 1 .avif, 1 .dng;" in result.stderr
    assert paths_of(succeed(run_pocketlens(*command, ".b.png", cwd=tmp_path))) == [".b.png"]


def test_standard_input(digits_export: Exported, digits_samples: Samples) -> None:
    command = [sys.executable, "-m", "runtime.cli.main", "classify", "--json", "--model", str(digits_export.int8)]
    data = digits_samples.files[0].read_bytes()
    done = subprocess.run([*command, "-"], input=data, capture_output=True, check=True)
    expected = Classifier(digits_export.int8).classify(data)
    assert json.loads(done.stdout) == {"path": "-", "predictions": [p.as_dict() for p in expected]}
    names = "\n".join(str(path) for path in digits_samples.files[:3]).encode()
    done = subprocess.run([*command, "--from-file", "-"], input=names, capture_output=True, check=True)
    assert len(done.stdout.splitlines()) == 3
    done = subprocess.run([*command, "-"], input=b"", capture_output=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("standard input: empty")


def test_several_images_on_standard_input(digits_export: Exported, digits_samples: Samples) -> None:
    command = [sys.executable, "-m", "runtime.cli.main", "classify", "--json", "--model", str(digits_export.int8)]
    contents = [path.read_bytes() for path in digits_samples.files[:3]]
    buffer = io.BytesIO()
    Image.open(digits_samples.files[3]).convert("L").save(buffer, "JPEG")
    damaged = b"\xff\xd8\xff\xd9"
    data = b"".join([*contents, buffer.getvalue(), damaged, contents[0]])
    done = subprocess.run([*command, "-"], input=data, capture_output=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [line["path"] for line in lines] == ["-", "-:2", "-:3", "-:4", "-:5", "-:6"]
    classifier = Classifier(digits_export.int8)
    for line, content in zip(lines, [*contents, buffer.getvalue(), None, contents[0]], strict=True):
        if content is None:
            assert line["error"].startswith("standard input:5: cannot be")
        else:
            assert line["predictions"] == [p.as_dict() for p in classifier.classify(content)]
    done = subprocess.run([*command, "-", digits_samples.files[1]], input=data, capture_output=True, check=False)
    assert done.stdout.splitlines()[:6] == [json.dumps(line).encode() for line in lines]
    assert json.loads(done.stdout.splitlines()[6])["path"] == str(digits_samples.files[1])
    endless = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    done = subprocess.run([*command, "-"], stdin=endless.stdout, capture_output=True, check=False)
    endless.terminate()
    endless.communicate()
    assert json.loads(done.stdout)["error"] == "standard input: larger than 64 MiB, the limit"


def test_min_score_allow_and_deny(digits_export: Exported, digits_samples: Samples) -> None:
    command = ("classify", "--json", "--model", digits_export.float32)
    image = digits_samples.files[1]
    best = Classifier(digits_export.float32).classify(image)[0]
    for options, labels in (
        (("--min-score", "1"), ["unknown"]),
        (("--allow", "3", "--allow", "8"), {"3", "8"}),
        (("--allow", best.label), [best.label]),
    ):
        found = json.loads(succeed(run_pocketlens(*command, *options, image)).stdout)["predictions"]
        assert type(labels)(p["label"] for p in found) == labels
    found = json.loads(succeed(run_pocketlens(*command, "--deny", best.label, image)).stdout)["predictions"]
    assert best.label not in [p["label"] for p in found]
    result = run_pocketlens(*command, "--deny", "ten", image)
    assert result.returncode == 2
    assert "no label 'ten'" in result.stderr


def test_an_address_is_no_missing_file(digits_export: Exported) -> None:
    done = run_pocketlens("classify", "--model", digits_export.int8, "https://example.org/a.jpg")
    assert done.returncode == 1
    assert done.stderr.startswith("error: https://example.org/a.jpg: an address, not a file; pipe it: curl -sL")


def test_labels_that_no_answer_can_have(digits_export: Exported, digits_samples: Samples) -> None:
    image = digits_samples.files[0]
    for arguments, answer in (
        (
            ("--allow", "3,8"),
            "no label '3,8'; the model has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; give these 2 labels one by one",
        ),
        (("--allow", "3", "--deny", "3"), "--allow and --deny leave no label to predict"),
    ):
        done = run_pocketlens("classify", "--model", digits_export.int8, *arguments, image)
        assert done.returncode == 2
        assert answer in done.stderr


def test_many_images_come_out_in_order(digits_export: Exported, digits_samples: Samples) -> None:
    files = [str(path) for path in digits_samples.files] * 5
    result = succeed(run_pocketlens("classify", "--json", "--top", 1, "--model", digits_export.int8, *files))
    assert paths_of(result) == files
    classifier = Classifier(digits_export.int8)
    expected = [classifier.classify(image, 1)[0].as_dict() for image in digits_samples.arrays] * 5
    assert [json.loads(line)["predictions"][0] for line in result.stdout.splitlines()] == expected


def test_info(digits_export: Exported) -> None:
    text = succeed(run_pocketlens("info", digits_export.int8)).stdout
    for part in ("uint8 [1, 8, 8, 1]", "multiclass, 10 labels", "digits", "contract.json", "with no arithmetic"):
        assert part in text
    found = json.loads(succeed(run_pocketlens("info", "--json", digits_export.int8)).stdout)
    assert found["bytes"] == digits_export.int8.stat().st_size
    assert found["contract"]["labels"] == [str(n) for n in range(10)]
    assert found["feeds_raw_pixels"] is True
    assert found["contract"]["provenance"]["dataset"] == "digits"
    work = read_workload(digits_export.int8.read_bytes())
    cost = {"multiply_adds": work.multiply_adds, "weight_bytes": work.weight_bytes, "arena_bytes": arena_bytes(work)}
    assert found["cost"] == cost
    assert f"{work.multiply_adds:,} multiply-adds" in text
    # The mean as the zero point, 1/std as the scale.
    assert found["input"]["zero_point"] == found["contract"]["input"]["mean"][0]
    assert found["input"]["scale"] == pytest.approx(1 / found["contract"]["input"]["std"][0], rel=1e-5)


def test_verify_checks_the_seal_alone(digits_export: Exported, tmp_path: Path) -> None:
    result = succeed(run_pocketlens("info", "--verify", digits_export.int8))
    assert result.stdout == f"{digits_export.int8}: {digits_export.int8.stat().st_size:,} bytes, intact\n"
    damaged = bytearray(digits_export.int8.read_bytes())
    damaged[5000] ^= 1
    (tmp_path / "x.tflite").write_bytes(damaged)
    result = run_pocketlens("info", "--verify", tmp_path / "x.tflite")
    assert result.returncode == 1
    assert "damaged" in result.stderr


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
        "classify --json --csv x.png",
        "classify --min-score 2 x.png",
        "classify --interpreter onnx x.png",
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
    command = [sys.executable, "-m", "runtime.cli.main", "classify", "--model", str(digits_export.int8)]
    files = [str(path) for path in digits_samples.files] * 60
    with subprocess.Popen([*command, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 1
