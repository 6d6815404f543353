"""Simulates a search by many machines on one PostgreSQL: 10,000 trials on 1, 10, 100 and 1,000 workers.

Discrete events: a worker asks the database for a trial, trains, and tells the result. Now and then a worker is lost;
its trial is taken over after the grace period of its heartbeat, and begins anew. The same seed gives the same figures.
`python -m benchmarks.search_at_scale --json`; `--times FILE` reads a JSON list of the seconds of measured trials.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: Seconds of 13 trainings of `cnn small` on digits, 40 epochs each, from their history.csv: an x86-64 machine (AMD
#: EPYC, two cores) on which other work ran. The spread is that of the load.
MEASURED = (12.4, 15.3, 15.7, 15.7, 19.2, 19.7, 21.2, 21.5, 24.5, 27.5, 35.0, 39.2, 48.9)


class Database(NamedTuple):
    """What a step of a search asks of PostgreSQL 15, with 12 choices and Optuna 5.0, measured on the same machine.

    Processor times are used, since other work does not change them much; the wall times were those of a busy machine.

    Attributes:
        transactions: transactions a trial, counted.
        statements: statements a trial, counted; each is a round trip.
        service: the server's processor seconds a transaction.
        service_running: the server's processor seconds more, a trial, for each other trial that runs.
        client: the worker's processor seconds a trial, at the database.
        client_running: the same more for each other trial that runs.
        round_trip: seconds over the network and back; an assumption.
        cores: the server's processors; an assumption.
    """

    transactions: int = 40
    statements: int = 164
    service: float = 0.0177 / 40
    service_running: float = (0.0294 - 0.0222) / 500
    client: float = 0.129
    client_running: float = (0.141 - 0.075) / 500
    round_trip: float = 0.001
    cores: int = 2

    def work(self, running: int) -> float:
        """Seconds of the whole server for one trial, without heartbeats."""
        return (self.transactions * self.service + running * self.service_running) / self.cores

    def latency(self, running: int) -> float:
        """Seconds that a worker waits for one trial's transactions at an idle server."""
        service = self.work(running) * self.cores
        return service + self.statements * self.round_trip + self.client + running * self.client_running


class Result(NamedTuple):
    """One search. Shares are of the time of all workers, from the start to the last result."""

    workers: int
    hours: float
    lost: int
    idle: float
    waiting: float
    repeated: float
    database: float


def simulate(
    workers: int,
    trials: int = 10_000,
    times: Sequence[float] = MEASURED,
    *,
    database: Database = Database(),  # noqa: B008 - a value that never changes
    lost_every: float = 3600,
    away: float = 600,
    heartbeat: float = 60,
    grace: float = 120,
    seed: int = 0,
) -> Result:
    """Run the events of one search.

    Args:
        workers: how many take trials.
        trials: how many must be finished.
        times: seconds of measured trials, from which each trial's are drawn.
        database: the costs of the database.
        lost_every: mean seconds between two losses of a worker, of all workers together; `math.inf` for none.
        away: seconds until a lost worker is replaced.
        heartbeat: seconds between two heartbeats.
        grace: seconds after the last heartbeat until the trial is taken over.
        seed: decides all draws.
    """
    search = _Search(workers, trials, times, database, lost_every, away, heartbeat, grace, random.Random(seed))
    search.run()
    total = workers * search.now
    idle = max(0.0, 1 - (search.trained + search.wasted) / total)
    shares = (search.waited / total, search.wasted / total, search.busy / search.now)
    return Result(workers, search.now / 3600, search.lost, idle, *shares)


class _Search:
    """The state between two events; the arguments are those of `simulate`."""

    def __init__(
        self,
        workers: int,
        trials: int,
        times: Sequence[float],
        database: Database,
        lost_every: float,
        away: float,
        heartbeat: float,
        grace: float,
        draw: random.Random,
    ) -> None:
        self.times, self.database, self.draw = times, database, draw
        self.lost_every, self.away, self.heartbeat, self.grace = lost_every, away, heartbeat, grace
        self.queued = self.unfinished = trials
        self.life = [0] * workers  # an event of a life that has ended is passed over
        self.running: dict[int, tuple[float, float]] = {}  # when a worker's training began, and its length
        self.unemployed: list[int] = []
        self.events: list[tuple[float, int, str, int, int]] = []  # time, order, kind, worker, its life
        self.order = self.lost = 0
        self.now = self.free_at = self.busy = self.trained = self.waited = self.wasted = 0.0
        for worker in range(workers):
            self.add(0.0, "free", worker)
        if math.isfinite(lost_every):
            self.add(draw.expovariate(1 / lost_every), "loss")

    def add(self, time: float, kind: str, worker: int = -1) -> None:
        self.order += 1
        heapq.heappush(self.events, (time, self.order, kind, worker, self.life[worker] if worker >= 0 else 0))

    def run(self) -> None:
        while self.unfinished:
            self.now, _, kind, worker, life = heapq.heappop(self.events)
            if kind == "loss":
                self.lose(self.draw.randrange(len(self.life)))
            elif kind == "stale":
                self.queued += 1
                if self.unemployed:
                    self.add(self.now, "free", self.unemployed.pop())
            elif life == self.life[worker]:
                if kind == "done":
                    self.trained += self.running.pop(worker)[1]
                    self.unfinished -= 1
                self.take(worker)

    def lose(self, worker: int) -> None:
        self.lost += 1
        self.life[worker] += 1
        if worker in self.unemployed:
            self.unemployed.remove(worker)
        if worker in self.running:
            start, _ = self.running.pop(worker)
            trained = max(0.0, self.now - start)
            self.wasted += trained
            last = start + trained // self.heartbeat * self.heartbeat
            self.add(max(self.now, last + self.grace), "stale")
        self.add(self.now + self.away, "free", worker)
        self.add(self.now + self.draw.expovariate(1 / self.lost_every), "loss")

    def take(self, worker: int) -> None:
        if not self.queued:
            self.unemployed.append(worker)
            return
        self.queued -= 1
        length, database, running = self.draw.choice(self.times), self.database, len(self.running)
        # The server works its queue off; heartbeats come with the trial that they belong to.
        work = database.work(running) + length / self.heartbeat * database.service / database.cores
        self.free_at = max(self.free_at, self.now) + work
        self.busy += work
        start = max(self.free_at, self.now + database.latency(running))
        self.waited += start - self.now
        self.running[worker] = (start, length)
        self.add(start + length, "done", worker)


def worker_limit(times: Sequence[float] = MEASURED, database: Database = Database()) -> int:  # noqa: B008
    """The most workers that the server keeps busy: above, its queue grows.

    With n workers a trial ends every `mean / n` seconds, and costs the server `work(n)`.
    """
    mean = sum(times) / len(times)
    workers = 1
    while (workers + 1) * database.work(workers + 1) < mean + database.latency(workers + 1):
        workers += 1
    return workers


def table(results: Sequence[Result]) -> str:
    """The results as text."""
    lines = ["workers    hours   lost    idle  waiting  repeated  database"]
    lines += [
        f"{r.workers:7}  {r.hours:7.2f}  {r.lost:5}  {r.idle:6.1%}"
        f"  {r.waiting:7.1%}  {r.repeated:8.1%}  {r.database:8.1%}"
        for r in results
    ]
    return "\n".join(lines)


def read_times(path: Path) -> list[float]:
    """The seconds of trials in a JSON list; ends the program with one line where the file holds anything else."""
    try:
        times = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {path} cannot be read as JSON: {error}")
    good = isinstance(times, list) and bool(times)
    if not good or not all(type(t) in (int, float) and math.isfinite(t) and t > 0 for t in times):
        sys.exit(f"error: {path} is not a list of seconds above 0: give one, such as [12.4, 15.3]")
    return [float(t) for t in times]


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000, help="trials of a search (default: 10000)")
    parser.add_argument("--times", type=Path, help="JSON list of the seconds of measured trials")
    parser.add_argument("--seed", type=int, default=0, help="decides all draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.trials < 1:
        parser.error(f"--trials is {arguments.trials}: give 1 or more")
    times = MEASURED if arguments.times is None else read_times(arguments.times)
    results = [simulate(n, arguments.trials, times, seed=arguments.seed) for n in (1, 10, 100, 1000)]
    limit = worker_limit(times)
    if arguments.json:
        print(json.dumps({"results": [r._asdict() for r in results], "worker_limit": limit}))
    else:
        print(f"{table(results)}\nthe database keeps up to {limit} workers busy")


if __name__ == "__main__":
    main()
