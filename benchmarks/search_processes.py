"""How much faster two processes search than one: the time until so many trials on digits are done, in one PostgreSQL.

`python -m benchmarks.search_processes` starts a PostgreSQL of Debian's, and `pocketlens search` with one thread for
each process. It needs a quiet machine with as many processor cores as processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.postgresql import temporary_postgresql


def main() -> None:
    """Measure one process, and then several, and print their times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, help="of a whole training; the default is that of the search")
    parser.add_argument("--max-bytes", default="60kB")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = []
    for processes in arguments.processes:
        with temporary_postgresql() as address, tempfile.TemporaryDirectory() as folder:
            rows.append(_search(address, Path(folder), processes, arguments))
        if not arguments.json:
            share = rows[-1]["seconds"] / rows[0]["seconds"]
            print(
                "{processes} processes: {seconds:.1f} s".format(**rows[-1]) + f", {share:.2f} of the first; {rows[-1]}"
            )
    if arguments.json:
        print(json.dumps(rows))


def _search(address: str, folder: Path, processes: int, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "runtime.cli.main", "search", "--dataset", "digits", "--threads", "1"]
    command += ["--storage", address, "--trials", str(arguments.trials), "--max-bytes", arguments.max_bytes]
    command += [] if arguments.epochs is None else ["--epochs", str(arguments.epochs)]
    began = time.perf_counter()
    running = [
        subprocess.Popen([*command, "--out", str(folder / str(place))], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        for place in range(processes)
    ]
    ends = []
    for process in running:
        _, said = process.communicate()
        if process.returncode:
            sys.exit(said.decode(errors="replace"))
        ends.append(time.perf_counter() - began)
    trials = json.loads((folder / "0" / "search.json").read_text("utf-8"))["trials"]
    steps = Counter((trial["number"], step["epochs"]) for trial in trials for step in trial["steps"])
    assert max(steps.values()) == 1, "a step was done twice"
    trained = sum(bool(trial["steps"]) for trial in trials)
    epochs = sum(trial["steps"][-1]["epochs"] for trial in trials if trial["steps"])
    figures = {"processes": processes, "seconds": max(ends), "trained": trained, "epochs": epochs, "steps": len(steps)}
    return {**figures, "step_seconds": sum(trial["seconds"] for trial in trials), "cores": os.cpu_count() or 0}


if __name__ == "__main__":
    main()
