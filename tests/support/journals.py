"""Journals of a watch: answers to put into one, one that a watch has begun, and one as earlier versions wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from runtime.errors import WatchError
from runtime.postprocessing import Prediction
from runtime.watch.journal import Journal
from runtime.watch.journal_file import Answer, History, Identity

# What the code of a test in a process of its own may name.
__all__ = ["Answer", "History", "Identity", "Journal", "Path", "WatchError", "answer"]

ROOT = Path(__file__).parents[2]
OLD_NAME = ".pocketlens-watch.jsonl"


def answer(number: int, name: str = "") -> Answer:
    identity = Identity(100 + number, 10**18 + number, number)
    return Answer(name or f"{number}.png", identity, (Prediction("cat", 0.5, 0),))


def command_of(code: str, *arguments: object) -> list[str]:
    """The command that runs Python code, which finds the names above."""
    return [sys.executable, "-c", f"import sys\nfrom tests.support.journals import *\n{code}", *map(str, arguments)]


def in_a_process(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code that finds the names above, in a process of its own."""
    command = command_of(code, *arguments)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def old_journal(folder: Path) -> str:
    predictions = [{"label": "cat", "score": 0.5, "index": 0}]

    def line(number: int) -> dict[str, Any]:
        return {"path": f"{number}.png", **answer(number).identity._asdict(), "predictions": predictions}

    records = (
        {"format": "pocketlens-watch", "version": 1, "folder": str(folder.resolve())},
        {"path": "old.png", "size": 1, "mtime_ns": 2, "inode": 3, "skipped": True},
        line(0),
        {"told": "0.png"},
        line(1),
        {"told": "1.png", "moved_to": "/out/1.png"},
        {"path": "bad\udce9.png", "size": 1, "mtime_ns": 2, "inode": 3, "error": "truncated"},
        {"told": "bad\udce9.png"},
        line(2),
    )
    return "".join(f"{json.dumps(record)}\n" for record in records)
