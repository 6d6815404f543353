"""What one answer imports, and that it answers the same whichever way it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.support.commands import run_pocketlens, succeed
from tests.support.exports import Exported, Samples

ROOT = Path(__file__).parents[4]
#: What a module costs in time it must be worth: none of these is, for one answer.
SLOW = {"click", "concurrent.futures", "hashlib", "inspect", "numpy.ma", "numpy.random", "subprocess", "tempfile"}

#: Runs the command in this process, and reports the modules whose code ran.
REPORT = """
import importlib.util, os, sys
end = os._exit
def report(status):
    ran = [name for name, module in sys.modules.items() if type(module) is not importlib.util._LazyModule]
    print("MODULES", *ran)
    sys.stdout.flush()
    end(status)
os._exit = report
from runtime.cli.main import main
main()
"""


def modules_of(*arguments: object, cwd: Path) -> set[str]:
    """The modules whose code ran for a command."""
    command = [sys.executable, "-c", REPORT, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # `make coverage` would load modules of its own
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_one_answer_loads_nothing_that_it_does_not_need(
    digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    loaded = modules_of("classify", "--model", digits_export.int8, digits_samples.files[0], cwd=tmp_path)
    assert {"runtime.classifier", "numpy", "PIL.PngImagePlugin"} <= loaded
    own = {"inspect"} if np.__version__ >= "2" else set()  # numpy 2 cannot do without
    assert not loaded & SLOW - own
    assert not [name for name in loaded if name.startswith(("runtime.outputs", "runtime.camera", "paho", "sqlite3"))]
    assert not loaded & {"PIL.JpegImagePlugin", "PIL.GifImagePlugin"}, "a PNG needs no other format"
    rooms = ("runtime.camera", "runtime.live", "runtime.outputs", "runtime.serve", "runtime.watch", "runtime.service")
    assert not [name for name in loaded if name.startswith(rooms)]


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
