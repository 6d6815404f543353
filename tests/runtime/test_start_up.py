"""What one answer imports, and that it answers the same whichever way it is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import Exported, Samples, run_pocketlens, succeed

ROOT = Path(__file__).parents[2]
SLOW = {"click", "subprocess", "hashlib", "concurrent.futures", "numpy.random", "numpy.ma"}


def imports_of(*arguments: object, cwd: Path) -> set[str]:
    """The modules whose code ran for a command."""
    command = [sys.executable, "-X", "importtime", "-m", "runtime.cli", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_one_answer_imports_nothing_that_it_does_not_need(
    digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    arguments = ("classify", "--model", digits_export.int8, digits_samples.files[0])
    loaded = imports_of(*arguments, cwd=tmp_path)
    assert "runtime.classifier" in loaded
    assert not loaded & SLOW


def test_the_answer_is_the_same_when_click_parses(
    digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    arguments = ("classify", "--json", "--model", digits_export.int8, *digits_samples.files[:5])
    quick = succeed(run_pocketlens(*arguments, cwd=tmp_path))
    by_click = succeed(run_pocketlens(*arguments, "--debug", cwd=tmp_path))
    assert quick.stdout == by_click.stdout
    assert len(quick.stdout.splitlines()) == 5


def test_many_images_are_answered_with_everything_loaded(
    digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    paths = digits_samples.files * 20
    done = succeed(run_pocketlens("classify", "--model", digits_export.int8, *paths, cwd=tmp_path))
    assert len(done.stdout.splitlines()) == len(paths)
