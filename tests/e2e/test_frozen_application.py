"""A frozen application: PyInstaller's build of a program with Pocketlens, and a model from elsewhere in it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.interpreter import installed
from tests.support.external_models import LABELS, converted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.pyinstaller,
    pytest.mark.skipif(importlib.util.find_spec("PyInstaller") is None, reason="PyInstaller is not installed"),
]

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, threading
from pocketlens import Classifier
print("the application starts", flush=True)
if "--with-a-thread" in sys.argv:
    sys.argv.remove("--with-a-thread")
    threading.Thread(target=threading.Event().wait, daemon=True).start()
from runtime.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built in one folder with the hooks of an installed Pocketlens."""
    folder = tmp_path_factory.mktemp("frozen")
    ignore = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder / "source", ignore=ignore)
    install = ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", folder / "site"]
    (folder / "sorter.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
    for arguments in ([*install, folder / "source"], ["PyInstaller", "--log-level", "WARN", "sorter.py"]):
        command = [sys.executable, "-m", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "dist" / "sorter" / "sorter"


def start(application: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["POCKETLENS_CACHE"] = str(application.parents[2] / "cache")
    command = [str(application), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.count("the application starts") == 1
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    (folder / "model.tflite").write_bytes(converted())
    (folder / "labels.txt").write_text("\n".join(LABELS))
    return folder


def test_it_holds_no_tensorflow(application: Path) -> None:
    held = {path.name for path in (application.parent / "_internal").iterdir()}
    assert {"runtime", *installed()} <= held
    assert not held & {"tensorflow", "keras", "sklearn", "matplotlib"}


@pytest.mark.parametrize("library", installed())
def test_a_model_from_elsewhere_is_tried_and_answers(application: Path, folder: Path, library: str) -> None:
    external = ["--labels", folder / "labels.txt", "--mean", 127.5, "--std", 127.5, "--interpreter", library]
    for suffix in ("jpg", "png", "gif", "bmp", "tiff", "webp"):
        path = folder / f"picture.{suffix}"
        Image.fromarray(np.full((9, 9, 3), 99, np.uint8)).save(path)
        done = start(application, "classify", "--model", folder / "model.tflite", *external, path)
        assert done.returncode == 0, done.stderr
        assert any(label in done.stdout for label in LABELS)
    kept = [path.name for path in (application.parents[2] / "cache" / "trials").iterdir()]
    assert any(library in name and "unknown" not in name for name in kept)


def test_a_program_with_a_thread_says_that_no_trial_could_be_held(application: Path, folder: Path) -> None:
    external = ["--labels", folder / "labels.txt", "--mean", 100, "--std", 100]
    done = start(application, "--with-a-thread", "classify", "--model", folder / "model.tflite", *external, "x.jpg")
    assert done.returncode == 1
    assert "could not be tried" in done.stderr
    assert "no Python to start" in done.stderr


def test_doctor_and_bench_run_their_children(application: Path, folder: Path) -> None:
    done = start(application, "doctor")
    assert done.stdout.count("built and ran a model") == len(installed())
    external = ["--labels", folder / "labels.txt", "--mean", 127.5, "--std", 127.5]
    done = start(application, "bench", "--rounds", 5, "--max-threads", 1, *external, folder / "model.tflite")
    assert done.returncode == 0, done.stderr
    assert "no Python" not in done.stdout + done.stderr
