"""The commands as tests start them: in a process of their own, or within this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from runtime.cli.app import LazyGroup
from runtime.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]


def run_pocketlens(
    *arguments: object, cwd: Path | None = None, timeout: float = 600, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def invoke(*arguments: object) -> Result:
    """What the command answers within this process: `exit_code`, `stdout`, `stderr`."""
    return CliRunner().invoke(LazyGroup("pocketlens", lazy=COMMANDS), [*map(str, arguments)])


def call_pocketlens(*arguments: object) -> subprocess.CompletedProcess[str]:
    """As `run_pocketlens`, within this process: TensorFlow takes up to eight seconds to load."""
    result = invoke(*arguments)
    return subprocess.CompletedProcess([*map(str, arguments)], result.exit_code, result.stdout, result.stderr)


def succeed(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """The result, or a failure that shows what the command said."""
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def answer(*arguments: object) -> str:
    """What a command prints that must succeed."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout
