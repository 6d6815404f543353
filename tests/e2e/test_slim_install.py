"""The wheel in an environment as a device has it: no TensorFlow, nothing of the workstation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.interpreter import choose
from tests.support.commands import run_pocketlens
from tests.support.exports import Exported, Samples

ROOT = Path(__file__).parents[2]
#: Of what pip installs for a device, without what Python compiles.
LIMIT_BYTES = 110_000_000
INTERPRETERS = {"tflite-runtime", "ai-edge-litert"}
#: What numpy, Pillow, click and the interpreters bring along; ai-edge-litert needs these.
ALLOWED = {"pip", "setuptools", "numpy", "pillow", "click", "pocketlens"} | INTERPRETERS
ALLOWED |= {"backports.strenum", "flatbuffers", "ml-dtypes", "protobuf", "tqdm", "typing-extensions"}


def python(device: Path, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(device / "bin/python"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd or device, env=environment, capture_output=True, text=True, check=False)


def interpreter_of(device: Path) -> str:
    return python(device, "-c", "from runtime.interpreter import choose; print(choose())").stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing an earlier build left can get in."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder / "source", ignore=ignore)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(folder / "source")]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = (folder / "dist").glob("pocketlens-*.whl")
    return found


def environment(folder: Path, *installs: Sequence[object]) -> Path:
    venv.create(folder, with_pip=True)
    for arguments in installs:
        done = python(folder, "-m", "pip", "install", "-q", *arguments)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def bare_device(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """A virtual environment with the wheel and what the wheel asks for."""
    return environment(tmp_path_factory.mktemp("bare") / "venv", ("-c", ROOT / "constraints.txt", wheel))


@pytest.fixture(scope="module")
def litert_device(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The other interpreter, with numpy 2, whatever this Python's own would be."""
    needed = ("ai-edge-litert>=2.1,<2.1.2", "numpy>=2", "pillow", "click")
    return environment(tmp_path_factory.mktemp("litert") / "venv", needed, ("--no-deps", wheel))


@pytest.fixture(params=["bare", "litert"])
def device(request: pytest.FixtureRequest) -> Path:
    """An environment as a device has it, with either interpreter."""
    if request.param == "litert" and sys.version_info >= (3, 12):
        pytest.skip("the bare install has ai-edge-litert and numpy 2 already")
    found: Path = request.getfixturevalue(f"{request.param}_device")
    return found


def test_what_the_bare_install_brings(bare_device: Path) -> None:
    listed = json.loads(python(bare_device, "-m", "pip", "list", "--format", "json").stdout)
    names = {entry["name"].lower().replace("_", "-") for entry in listed}
    assert not names - ALLOWED
    assert names & INTERPRETERS
    if "tflite-runtime" in names:
        assert names <= {"pip", "setuptools", "numpy", "pillow", "click", "pocketlens", "tflite-runtime"}


def test_an_install_stays_slim(device: Path) -> None:
    """The newest releases of ai-edge-litert would break this: see the cap in pyproject.toml.

    The tests of numpy do not count: the installer of a bundle leaves them away.
    """
    sizes = Counter[str]()
    for site_packages in device.glob("lib/python3*/site-packages"):
        for path in site_packages.rglob("*"):
            if path.is_file() and not {"__pycache__", "tests"} & {*path.parts}:
                sizes[path.relative_to(site_packages).parts[0]] += path.stat().st_size
    for name in [*sizes]:
        if name.startswith(("pip", "setuptools", "pkg_resources", "_distutils_hack")):  # the environment's own tools
            del sizes[name]
    assert 0 < sizes.total() <= LIMIT_BYTES, sizes.most_common(5)


def test_doctor_finds_the_interpreter_of_each_environment(device: Path) -> None:
    done = python(device, "-m", "runtime.cli.main", "doctor", "--json")
    assert done.returncode == 0, done.stdout
    chosen = interpreter_of(device)
    numpy_version = python(device, "-c", "import numpy; print(numpy.__version__)").stdout
    assert (chosen == "tflite_runtime") == numpy_version.startswith("1.")
    assert any(json.loads(line)["subject"].startswith(chosen) for line in done.stdout.splitlines())


def test_the_command_classifies(device: Path, digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    for model in (digits_export.float32, digits_export.int8):
        paths = digits_samples.files[:10]
        command = [*map(str, (device / "bin/pocketlens", "classify", "--json", "--model", model, *paths))]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        here = run_pocketlens("classify", "--json", "--model", model, *paths)
        for there, line in zip(map(json.loads, done.stdout.splitlines()), here.stdout.splitlines(), strict=True):
            expected = json.loads(line)
            assert there["path"] == expected["path"]
            (answer, *_), (wanted, *_) = there["predictions"], expected["predictions"]
            assert answer["label"] == wanted["label"]
            # A step of a quantized score is 1/256, and the two interpreters may differ by two, of which the file's
            # temperature makes more where it is below 1.
            assert answer["score"] == pytest.approx(wanted["score"], abs=6 / 256)
        if interpreter_of(device) == choose():
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


def test_nothing_of_the_workstation_is_imported(bare_device: Path) -> None:
    code = "import sys; from runtime import *; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python(bare_device, "-c", code).stdout.split()}
    assert "runtime" in loaded
    assert not loaded & {"tensorflow", "keras", "sklearn", "matplotlib", "scipy", "trainer", "exporter"}


@pytest.mark.parametrize("arguments", [("train", "--dataset", "digits", "--out", "x"), ("export", "x", "--out", "y")])
def test_a_command_of_the_workstation_says_what_it_needs(bare_device: Path, arguments: tuple[str, ...]) -> None:
    done = python(bare_device, "-m", "runtime.cli.main", *arguments)
    assert done.returncode == 1
    assert "pip install 'pocketlens[workstation]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_works_without_the_workstation(bare_device: Path) -> None:
    for command in ("classify", "watch", "info", "bench", "doctor", "train", "export"):
        assert python(bare_device, "-m", "runtime.cli.main", command, "--help").returncode == 0
