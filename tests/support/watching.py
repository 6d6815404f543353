"""A watch in this process, whose waits are steps of a test, and one in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime.testing import FakeInterpreter
from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.scanner import WatchedFolder
from runtime.watch.watcher import Delivery, Watcher

ROOT = Path(__file__).parents[2]
CLASSIFIER = FakeInterpreter(["cat", "dog"], [[0.9, 0.1]]).classifier()


def draw(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return path


class Steps:
    """A process in which each wait is one step of a test; it ends after the last step."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)
        self._waits = len(steps) + 1

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...

    def keep_going(self) -> bool:
        return self._waits > 0

    def wait(self, seconds: float) -> bool:
        self._waits -= 1
        if self._steps:
            self._steps.pop(0)()
        return self.keep_going()


def watched(
    folder: Path, *steps: Callable[[], object], deliver: Callable[[Delivery], None] | None = None, **options: Any
) -> list[Delivery]:
    """What a watch of a folder delivers while the steps are done."""
    delivered: list[Delivery] = []
    options = {"settle": 0.0, "patience": 0.0, **options}
    classify = options.pop("classify", CLASSIFIER.classify)
    place = WatchedFolder(str(folder), options.pop("recursive", False))
    with Journal(folder / DEFAULT_NAME, folder) as journal:
        Watcher(place, journal, classify, deliver or delivered.append, **options).run(Steps(*steps))
    return delivered


def names(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.answer.path for delivery in deliveries]


class Running:
    """A watch in a process of its own."""

    def __init__(self, log: Path, *arguments: object, **variables: str) -> None:
        self.log = log
        with log.open("ab") as out, log.with_suffix(".err").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runtime.cli.main", "watch", *map(str, arguments)],
                stdout=out,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            )

    def lines(self, count: int = 0, timeout: float = 60) -> list[Any]:
        """The whole JSON lines that it printed, as soon as there are `count`; a kill may cut the last one off."""
        end = time.monotonic() + timeout
        while self.log.read_bytes().count(b"\n") < count:
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < end, f"{self.log.read_text()}\n{self.errors}"
            time.sleep(0.02)
        return [json.loads(line) for line in self.log.read_text().rpartition("\n")[0].splitlines()]

    @property
    def errors(self) -> str:
        return self.log.with_suffix(".err").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)
