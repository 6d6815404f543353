"""`pocketlens classify --json DIR` on a folder of hostile images must print a line for each and no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fuzz import images
from fuzz.driver import Outcome, Summary

#: Only small files: all specials together would take gigabytes.
_SPECIALS = (
    "empty",
    "zeros",
    "claims-50000.png",
    "claims-50000.jpg",
    "claims-50000.gif",
    "claims-50000.bmp",
    "loop.tif",
)
_SECONDS = 300


def fill(folder: Path, count: int, seed: int) -> int:
    """Fill a folder with `count` mutants, some specials and a pipe, all with an image's suffix; return their number."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases = [["file", name, 0] for name in _SPECIALS]
    cases += list(images.cases(count, seed, with_specials=False))
    for number, case in enumerate(cases):
        (folder / f"{number:05}.png").write_bytes(images.image(case))
    os.mkfifo(folder / "pipe.png")
    (folder / os.fsdecode(b"\xff\n\x1b[31m.jpg")).write_bytes(b"no image")
    (folder / "folder.png").mkdir()
    return len(cases) + 2


def classify_folder(model: str, folder: Path, count: int, seed: int) -> Summary:
    """Run the command on a folder that `fill` has filled, and check its output."""
    expected = fill(folder, count, seed)
    command = [sys.executable, "-m", "runtime.cli.main", "classify", "--model", model, "--json", str(folder)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    seconds = time.monotonic() - started
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    refused = sum("error" in line for line in lines)
    summary = Summary("folder", {"refused": refused, "answered": len(lines) - refused}, [])
    problems = []
    if done.returncode != 1:
        problems.append(f"exit status {done.returncode}, expected 1")
    if len(lines) != expected:
        problems.append(f"{len(lines)} lines, expected {expected}")
    if b"Traceback" in done.stderr:
        problems.append("a traceback: " + done.stderr.decode(errors="replace")[-300:])
    summary.findings += [Outcome(["folder", str(folder), seed], "raised", text, seconds, 0.0) for text in problems]
    return summary
