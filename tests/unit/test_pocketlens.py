"""The public face under the distribution's name."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pocketlens
import runtime

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that is started in a folder, which comes before ours on the module search path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.workstation
def test_every_public_name_is_there() -> None:
    assert sorted(pocketlens.__all__) == pocketlens.__all__
    assert dir(pocketlens) == pocketlens.__all__
    for name in pocketlens.__all__:
        assert getattr(pocketlens, name) is not None
    assert pocketlens.Classifier is runtime.Classifier
    with pytest.raises(AttributeError, match="'Klassifier'"):
        _ = pocketlens.Klassifier


def test_what_it_forwards_from_the_runtime_is_public_there() -> None:
    assert {name for name in pocketlens.__all__ if name not in pocketlens._HOMES} <= set(runtime.__all__)


def test_importing_it_is_light(tmp_path: Path) -> None:
    done = run("import sys, pocketlens; print(*sys.modules)", tmp_path)
    assert not {"runtime", "trainer", "exporter", "numpy", "tensorflow"} & set(done.stdout.split()), done.stderr


def test_a_device_is_told_which_extra_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorflow" else find(name, *rest)
    )
    monkeypatch.delitem(pocketlens.__dict__, "train", raising=False)
    with pytest.raises(ImportError, match=r"pocketlens\.train needs TensorFlow.*pocketlens\[workstation\]"):
        _ = pocketlens.train
    assert "train" not in dir(pocketlens)
    assert "Classifier" in dir(pocketlens)


@pytest.mark.parametrize("name", ["runtime.py", "runtime/__init__.py"])
def test_a_file_that_hides_the_runtime_is_named(name: str, tmp_path: Path) -> None:
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_text("")
    done = run("from pocketlens import Classifier", tmp_path)
    assert f"ImportError: {place} is found in place of Pocketlens's package `runtime`: rename" in done.stderr
    done = run("import runtime\nfrom pocketlens import Classifier", tmp_path)
    assert f"ImportError: {place} is found" in done.stderr


def test_a_folder_without_code_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir()
    done = run("from pocketlens import Classifier; print(Classifier.__module__)", tmp_path)
    assert done.stdout == "runtime.classifier\n", done.stderr


def test_the_command_names_a_file_that_hides_the_runtime(tmp_path: Path) -> None:
    place = tmp_path / "runtime.py"
    place.write_text("")
    done = run("import pocketlens; pocketlens._main()", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {place} is found in place of Pocketlens's package `runtime`: rename that file or folder\n"
    )
