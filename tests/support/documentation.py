"""The fenced blocks of README and docs, and the folder in which they run.

A block of bash or Python runs unless an HTML comment before it says `<!-- skip: reason -->` (it needs what a test
cannot have) or `<!-- slow: reason -->` (only `make proof` runs it). A block of Python that begins with `# NAME.py` is
written to that file. Blocks of other languages show files and output.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.commands import ROOT, call_pocketlens, succeed

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/README.md"]
RUN, SLOW, SKIP = "run", "slow", "skip"
_BLOCK = re.compile(r"(?:^<!-- (slow|skip): ([^\n]+) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What makes a line one for a shell.
_SHELL = re.compile(r"[|<>;&*~`]|\$[({]")
_ENDLESS_S, _SETTLED_S = 30.0, 1.5


class Block(NamedTuple):
    """A fenced block: its language, its text, whether it is run, and the reason if it is not."""

    page: Path
    line: int
    language: str
    text: str
    how: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    def commands(self) -> Iterator[str]:
        """The command lines, without their comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line and not line.startswith("#"):
                yield re.sub(r"\s{2,}# .*", "", line)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start(3)].count("\n") + 1, found[3], found[4], found[1] or RUN, found[2] or "")
        for found in _BLOCK.finditer(text)
    ]


def run_block(block: Block, made: set[str]) -> None:
    """Run a block in the working folder.

    Args:
        made: command lines whose results lie there already.
    """
    if named := re.match(r"# (\w+\.py)\n", block.text):
        Path(named[1]).write_text(block.text, encoding="utf-8")
        return
    if block.language == "python":
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block.text, str(block), "exec", dont_inherit=True), {"__name__": "__main__"})
        return
    for line in block.commands():
        if line in made:
            continue
        if line.startswith("pocketlens watch") and "--history" not in line:
            _run_for_a_while(line)
        elif line.startswith("pocketlens ") and not _SHELL.search(line):
            succeed(call_pocketlens(*shlex.split(line)[1:]))
        else:
            succeed(subprocess.run(_bash(line), env=_environment(), capture_output=True, text=True, check=False))


def _run_for_a_while(line: str) -> None:
    """Run a watch until it has answered what lies there, then end it as a service manager does."""
    for old in Path("incoming").glob(".pocketlens*"):
        old.unlink()
    with subprocess.Popen(_bash(f"exec {line}"), env=_environment(), stdout=subprocess.PIPE) as watch:
        deadline = time.monotonic() + _ENDLESS_S
        while not Path("incoming/.pocketlens-watch.sqlite").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(_SETTLED_S)
        watch.send_signal(signal.SIGTERM)
        watch.communicate(timeout=_ENDLESS_S)
    assert watch.returncode == 0, line


def _bash(line: str) -> list[str]:
    shim = f'pocketlens() {{ {shlex.quote(sys.executable)} -m runtime.cli.main "$@"; }}'
    if line.startswith("exec pocketlens"):
        line = line.replace("exec pocketlens", f"exec {shlex.quote(sys.executable)} -m runtime.cli.main", 1)
    return ["bash", "-euo", "pipefail", "-c", f"{shim}\n{line}"]


def _environment() -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
