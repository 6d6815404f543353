"""`python -m benchmarks.training`: runs all modules, or the named ones. The exit status is 1 if a bound is missed."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

from runtime.native_output import quiet_tensorflow

MODULES = ("pipeline", "epoch", "memory", "in_the_lessons_time", "circles")


def main() -> None:
    """Print the rows, as text or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"{', '.join(MODULES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(MODULES):
        parser.error(f"no module {min(unknown)!r}; there are {', '.join(MODULES)}")
    print(json.dumps(machine()) if arguments.json else "  ".join(machine().values()), flush=True)
    quiet_tensorflow()
    kept = True
    for name in arguments.modules or MODULES:
        for row in importlib.import_module(f"benchmarks.training.{name}").rows(arguments.rounds):
            kept = kept and row.kept
            print(json.dumps(row._asdict()) if arguments.json else row.line(), flush=True)
    sys.exit(not kept)


def machine() -> dict[str, str]:
    """The facts that the figures depend on. By default TensorFlow uses oneDNN if the processor has AVX512-VNNI."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    vnni = "with" if "avx512_vnni" in facts.get("flags", "") else "without"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": f"{facts.get('model name') or platform.machine()}, {vnni} AVX512-VNNI",
        "cores": f"{cores} cores",
        "C library": " ".join(platform.libc_ver()),
        "TensorFlow": f"TensorFlow {importlib.metadata.version('tensorflow')}",
    }


if __name__ == "__main__":
    main()
