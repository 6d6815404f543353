"""Our presets beside the lesson's Dense(128), in the time that it takes for its ten epochs: `make bench-train`.

On Fashion-MNIST, the publisher's split, one process after the other on the same machine. Exit status 1 where a preset
is not above the lesson's test accuracy by 0.01.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.bench.timing import ROOT
from tests.bench.training.contest import LESSON, OURS

_GAIN = 0.01


def contest(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """What one contestant reached."""
    command = [sys.executable, "-m", "tests.bench.training.contest", name, str(seconds), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {name}: {done.stderr.strip().splitlines()[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=OURS, help="this preset alone; repeatable")
    parser.add_argument("--seconds", type=float, help="instead of the lesson's own time")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args()
    if not arguments.json:
        print(f"{'network':12} {'epochs':>7} {'seconds':>8} {'processor':>10} {'accuracy':>9} {'gain':>8}  bound")
    first = contest(LESSON, 0, arguments.seed)
    tell(LESSON, first, None, arguments.json)
    kept = True
    for name in arguments.only or OURS:
        found = contest(name, arguments.seconds or first["seconds"], arguments.seed)
        gain = found["accuracy"] - first["accuracy"]
        kept = kept and gain >= _GAIN
        tell(name, found, gain, arguments.json)
    sys.exit(0 if kept else 1)


def tell(name: str, found: dict[str, Any], gain: float | None, as_json: bool) -> None:
    """One line."""
    if as_json:
        print(json.dumps({"network": name, **found, "gain": gain}), flush=True)
        return
    verdict = "" if gain is None else f"{gain:+8.4f}  >= {_GAIN}{'' if gain >= _GAIN else '  MISSED'}"
    print(
        f"{name:12} {found['epochs']:7} {found['seconds']:8.1f} {found['processor']:10.1f} {found['accuracy']:9.4f} "
        f"{verdict}",
        flush=True,
    )


if __name__ == "__main__":
    main()
