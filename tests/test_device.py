"""The wheel in an environment as a device has it: no TensorFlow, nothing of the workstation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import Exported, Samples, run_pocketlens

ROOT = Path(__file__).parents[1]
INTERPRETERS = {"tflite-runtime", "ai-edge-litert"}
#: What numpy, Pillow, click and the interpreters bring along; ai-edge-litert needs these.
ALLOWED = {"pip", "setuptools", "numpy", "pillow", "click", "pocketlens"} | INTERPRETERS
ALLOWED |= {"backports.strenum", "flatbuffers", "ml-dtypes", "protobuf", "tqdm", "typing-extensions"}


def python(device: Path, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(device / "bin/python"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd or device, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and what the wheel asks for."""
    folder = tmp_path_factory.mktemp("device")
    source = folder / "source"
    ignore = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignore)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", source], check=True, capture_output=True
    )
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = (folder / "dist").glob("pocketlens-*.whl")
    done = python(folder / "venv", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    assert done.returncode == 0, done.stderr
    return folder / "venv"


def test_what_the_bare_install_brings(device: Path) -> None:
    listed = json.loads(python(device, "-m", "pip", "list", "--format", "json").stdout)
    names = {entry["name"].lower().replace("_", "-") for entry in listed}
    assert not names - ALLOWED
    assert names & INTERPRETERS
    if "tflite-runtime" in names:
        assert names <= {"pip", "setuptools", "numpy", "pillow", "click", "pocketlens", "tflite-runtime"}


def test_the_command_classifies(device: Path, digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    for model in (digits_export.float32, digits_export.int8):
        paths = digits_samples.files[:10]
        command = [device / "bin/pocketlens", "classify", "--json", "--model", model, *paths]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        here = run_pocketlens("classify", "--json", "--model", model, *paths)
        assert done.stdout == here.stdout


def test_the_program_of_the_readme_runs(
    device: Path, digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    program = text.partition("```python\n")[2].partition("```")[0]
    assert "from runtime import Classifier" in program
    shutil.copy(digits_export.int8, tmp_path / "int8.tflite")
    for file in digits_samples.files[:3]:
        shutil.copy(file, tmp_path)
    done = python(device, "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_nothing_of_the_workstation_is_imported(device: Path) -> None:
    code = "import sys; from runtime import *; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python(device, "-c", code).stdout.split()}
    assert "runtime" in loaded
    assert not loaded & {"tensorflow", "keras", "sklearn", "matplotlib", "scipy", "trainer", "exporter"}


@pytest.mark.parametrize("arguments", [("train", "--dataset", "digits", "--out", "x"), ("export", "x", "--out", "y")])
def test_a_command_of_the_workstation_says_what_it_needs(device: Path, arguments: tuple[str, ...]) -> None:
    done = python(device, "-m", "runtime.cli", *arguments)
    assert done.returncode == 1
    assert "pip install 'pocketlens[workstation]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_works_without_the_workstation(device: Path) -> None:
    for command in ("classify", "watch", "info", "bench", "doctor", "train", "export"):
        assert python(device, "-m", "runtime.cli", command, "--help").returncode == 0
