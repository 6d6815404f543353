"""Measures for how long no thread of this process runs or could run: for how long the process waits.

The idle share of the cores cannot say that on a machine with other work, because it counts the time of the others too.
A thread that wants a core and does not get one counts as running here, so others make no difference.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

#: Seconds between two samples. A sample reads a small file for each thread, which takes half a millisecond.
PERIOD = 0.05
_TASKS = Path("/proc/self/task")


class Samples(NamedTuple):
    """How many samples there are, and how many of them found no thread that runs."""

    all: int = 0
    waiting: int = 0


class WaitingSampler(threading.Thread):
    """Samples the states of this process's threads until it ends.

    Attributes:
        samples: those since the start.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples = Samples()

    def run(self) -> None:
        own = str(threading.get_native_id())
        while True:
            time.sleep(PERIOD)
            waiting = not any(_runs(task) for task in _TASKS.iterdir() if task.name != own)
            self.samples = Samples(self.samples.all + 1, self.samples.waiting + waiting)


def _runs(task: Path) -> bool:
    """Whether a thread of this process runs, or waits for nothing but a core."""
    with suppress(OSError):  # it has ended
        # The state follows the name, which is in parentheses and may contain anything.
        return (task / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    return False
