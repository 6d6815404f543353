"""How much faster two processes train one network than one: the seconds of an epoch with `--distribute workers`.

`python -m benchmarks.training_processes` trains with one process on one processor core, with two workers on a core
each, and with one process on both. Each training has two epochs, and the second one counts. It needs a quiet machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path


def main() -> None:
    """Measure the three ways, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--sizes", nargs="*", default=["small", "large"])
    parser.add_argument("--steps", type=int, default=100, help="of an epoch")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("one processor core, expected two")
    one, other = cores[:1], cores[1:]
    ways = {"1 process, 1 core": [one], "2 workers, 1 core each": [one, other], "1 process, 2 cores": [cores]}
    rows = []
    for size in arguments.sizes:
        for way, places in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds = _epoch_seconds(Path(folder) / "run", size, places, arguments)
            rows.append({"size": size, "way": way, "seconds": seconds})
            if not arguments.json:
                first = next(row["seconds"] for row in rows if row["size"] == size)
                print(f"{size}: {way}: {seconds:.1f} s, {seconds / first:.2f} of one core")
    if arguments.json:
        print(json.dumps(rows))


def _epoch_seconds(run: Path, size: str, places: list[list[int]], arguments: argparse.Namespace) -> float:
    """The seconds of the second epoch of one training, by a process for each set of processor cores."""
    command = [sys.executable, "-m", "runtime.cli.main", "train", "--dataset", arguments.dataset, "--out", str(run)]
    command += ["--size", size, "--epochs", "2", "--steps-per-epoch", str(arguments.steps)]
    command += ["--batch-size", str(arguments.batch_size), "--patience", "0", "-q"]
    command += ["--distribute", "workers"] if len(places) > 1 else []
    with ExitStack() as stack:
        ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in places]
    workers = [f"127.0.0.1:{port}" for port in ports]
    running = []
    for index, cores in enumerate(places):
        threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(len(cores)))
        cluster = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)  # a child begins where its parent is
        try:
            running.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **threads, "TF_CONFIG": cluster},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        finally:
            os.sched_setaffinity(0, own)
    for process in running:
        _, said = process.communicate()
        if process.returncode:
            sys.exit(said)
    rows = list(csv.DictReader((run / "history.csv").read_text("utf-8").splitlines()))
    return float(rows[-1]["seconds"])


if __name__ == "__main__":
    main()
