"""Processes that take the steps of one search and are killed again and again: `python -m tests.support.search_workers`.

Their trials are trained by sleeping. Optuna is imported once, and each process is a fork: a test has time for many.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from exporter.search.budget import Cost
from exporter.search.halving import StepResult
from exporter.search.space import Space
from exporter.search.study import SearchStudy

RUNGS = (1, 3)


def open_search(address: str, worker: str) -> SearchStudy:
    """The search of this test, whose heartbeat is fast."""
    space = Space(1797, 3, (8,), ("grey",), quantization_aware=False)
    return SearchStudy(address, "data", space, RUNGS, worker=worker, heartbeat=1)


def work(address: str, worker: str, trials: int, log: Path, seconds: float) -> None:
    """Take steps until nothing is due and nothing runs; each is noted in the log where its training begins."""
    study = open_search(address, worker)
    study.reclaim()
    while True:
        due = study.next_step(trials)
        if due is None:
            if not study.counts()["running"]:
                return
            time.sleep(0.1)
            continue
        cost = 500.0 + 7 * (due.step.trial % 90)
        if due.step.epochs == RUNGS[0]:
            study.note_cost(due, Cost(int(cost)), cost / 1000)
        if cost > 1000:
            study.reject(due, Cost(int(cost)), cost / 1000)
            continue
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"{due.step.trial} {due.step.epochs}\n")
        time.sleep(seconds)
        study.finish(due, StepResult(0.5 + (due.step.trial * 37 % 50) / 100, (cost,)), seconds)


def main(address: str, trials: int, workers: int, kills: int, log: str, seconds: float, takes_place: bool) -> None:
    """Run the search with so many processes and kills at random times, each followed by a new process.

    Args:
        takes_place: whether a new process has the name of the killed one, and so knows its step to be lost at once.
    """
    place = Path(log)
    place.touch()
    chance = random.Random(0)
    names = iter(range(10_000))
    killed = 0

    def start(name: str) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                work(address, name, trials, place, seconds)
            except BaseException as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        running[pid] = name
        return pid

    running: dict[int, str] = {}
    for _ in range(workers):
        start(f"worker {next(names)}")
    while running:
        time.sleep(chance.uniform(0.1, 0.6))
        if killed < kills and place.read_text("utf-8"):
            victim = chance.choice([*running])
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            killed += 1
            name = running.pop(victim)
            start(name if takes_place else f"worker {next(names)}")
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            running.pop(pid)
            if status:
                for other in running:
                    os.kill(other, signal.SIGKILL)
                sys.exit(f"a process ended with {status}")
    print(json.dumps({"kills": killed}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
