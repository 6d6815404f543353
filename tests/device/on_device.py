"""The same answers as on the workstation, and the commands as a user types them; `tools.device.check` runs it.

The tolerances were chosen from what `make device` measured; it prints the same figures again each time.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest

import runtime
from runtime import Classifier
from runtime.interpreter import LIBRARIES, choose
from tests.device.answers import LOSSY, MODELS, pixels_of, stored_answers
from tests.support.commands import run_pocketlens
from tests.support.exports import READY_MADE, Samples

assert READY_MADE is not None, "POCKETLENS_TEST_MODELS names no folder"
MATERIAL: Path = READY_MADE
SAME_LIBRARY = choose() == "tflite_runtime"
#: Scores are 0 to 1: the order of float32 additions differs between processors, and no more than that.
FLOAT32_TOLERANCE = 1e-5
#: Of 255, in any one answer of ai-edge-litert against tflite-runtime, whose kernels round differently. This model was
#: 6 apart at most, in 181 rows of 600, with the same best label in all of them; a larger one was 12 apart.
LITERT_INT8_TOLERANCE = 12
#: Of 255, in any one answer of tflite-runtime on ARM against x86-64. The weights depend on the processor that trained
#: them: one model was 1 apart at most, in 56 answers of 6,000, another 3, in 30 rows of 600, with the same best label
#: in all of them. An earlier model, without residual blocks, gave the same bits.
ARM_INT8_TOLERANCE = 4
AGREEMENT = 0.99
#: Every machine decoded the same pixels so far; a decoder of JPEG or WebP has the right to round otherwise.
LOSSY_TOLERANCE = 1
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def answers() -> dict[str, npt.NDArray[Any]]:
    """The images, their targets, and what the workstation answered."""
    with np.load(MATERIAL / "answers.npz") as file:
        return dict(file)


@pytest.fixture(autouse=True, scope="session")
def described(record_testsuite_property: Record) -> None:
    """What this is, for the table."""
    record_testsuite_property("machine", platform.machine())
    record_testsuite_property("python", platform.python_version())
    record_testsuite_property("interpreter", f"{LIBRARIES[choose()]} {importlib.metadata.version(LIBRARIES[choose()])}")
    record_testsuite_property("numpy", np.__version__)
    record_testsuite_property("pillow", PIL.__version__)


def test_it_is_the_wheel_that_runs_and_nothing_of_the_workstation_is_here() -> None:
    assert Path(runtime.__file__).parents[1] == Path(sysconfig.get_path("purelib"))
    assert importlib.metadata.version("pocketlens") == runtime.__version__
    for name in ("tensorflow", "keras", "sklearn", "matplotlib", "scipy"):
        assert importlib.util.find_spec(name) is None


@pytest.mark.parametrize("name", MODELS)
def test_answers(name: str, answers: dict[str, npt.NDArray[Any]], record_property: Record) -> None:
    found = stored_answers(Classifier(MATERIAL / f"{name}.tflite"), answers["images"])
    expected = answers[name]
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape == (len(answers["images"]), 10)
    difference = np.abs(found.astype(float) - expected.astype(float))
    agreement = float((found.argmax(1) == expected.argmax(1)).mean())
    record_property(f"{name} difference", f"{difference.max():.3g}")
    record_property(f"{name} rows that differ", int(difference.any(axis=1).sum()))
    record_property(f"{name} agreement", agreement)
    record_property("images", len(found))
    if name == "float32":
        assert difference.max() <= FLOAT32_TOLERANCE
        assert agreement == 1
    elif SAME_LIBRARY and platform.machine() == "x86_64":
        np.testing.assert_array_equal(found, expected)
    else:
        step = Classifier(MATERIAL / "int8.tflite").output.scale if name == "io-float32" else 1
        tolerance = ARM_INT8_TOLERANCE if SAME_LIBRARY else LITERT_INT8_TOLERANCE
        assert difference.max() <= tolerance * step * (1 + 1e-5)
        assert agreement >= AGREEMENT
    assert (found.argmax(1) == answers["targets"]).mean() > 0.97


def test_pixels(record_property: Record) -> None:
    with np.load(MATERIAL / "pixels.npz") as file:
        expected = dict(file)
    found = dict(pixels_of(MATERIAL / "pictures"))
    assert found.keys() == expected.keys()
    worst: dict[str, int] = {}
    for key, pixels in found.items():
        assert pixels.shape == expected[key].shape
        apart = np.abs(pixels.astype(int) - expected[key].astype(int))
        worst[key] = int(apart.max())
        print(f"{key}: at most {apart.max()}, mean {apart.mean():.4f}, {np.count_nonzero(apart)} of {apart.size}")
    lossy = {key: value for key, value in worst.items() if is_lossy(key)}
    whole = {key: value for key, value in worst.items() if not is_lossy(key)}
    record_property("pixels lossy difference", max(lossy.values()))
    record_property("pixels lossless difference", max(whole.values()))
    assert max(whole.values()) == 0
    assert max(lossy.values()) <= LOSSY_TOLERANCE


def is_lossy(key: str) -> bool:
    name = key.partition(" ")[0]
    return name.endswith(LOSSY) and "lossless" not in name


def pocketlens(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The console script that pip installed."""
    script = Path(sysconfig.get_path("scripts")) / "pocketlens"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(script), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("model", ["float32", "int8"])
def test_classify(model: str, digits_samples: Samples) -> None:
    done = pocketlens("classify", "--json", "--model", MATERIAL / f"{model}.tflite", *digits_samples.files)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(path) for path in digits_samples.files]
    right = [line["predictions"][0]["label"] for line in lines]
    assert sum(label == str(target) for label, target in zip(right, digits_samples.targets, strict=True)) >= 36


def test_info_verify() -> None:
    done = pocketlens("info", "--verify", MATERIAL / "int8.tflite")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("intact\n")


def test_bench() -> None:
    done = pocketlens("bench", "--json", "--rounds", 20, "--max-threads", 2, MATERIAL / "int8.tflite")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["threads"] for row in found["results"]] == [1, 2]
    assert all(row["invoke_ms"]["median"] > 0 for row in found["results"])
    assert found["choose"].startswith("choose --interpreter ")


def test_doctor() -> None:
    done = pocketlens("doctor", MATERIAL / "int8.tflite")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "built and ran a model, 10 outputs" in done.stdout
    assert platform.machine() in done.stdout


def test_a_damaged_model_is_refused_in_one_line(tmp_path: Path) -> None:
    damaged = bytearray((MATERIAL / "int8.tflite").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.tflite").write_bytes(damaged)
    done = pocketlens("classify", "--model", tmp_path / "damaged.tflite", "x.png")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["train", "export"])
def test_a_command_of_the_workstation_says_what_it_needs(command: str) -> None:
    arguments = ("--dataset", "digits", "--out", "x") if command == "train" else ("x", "--out", "y")
    done = run_pocketlens(command, *arguments)
    assert done.returncode == 1
    assert "pip install 'pocketlens[workstation]'" in done.stderr
