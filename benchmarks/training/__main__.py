"""`python -m benchmarks.training`: all modules, or those named. Exit status 1 where a bound is missed."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from runtime.native_output import quiet_tensorflow

MODULES = ("pipeline", "memory", "in_the_lessons_time")


def main() -> None:
    """Print the rows, as text or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement, in turn (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(MODULES):
        parser.error(f"no module {min(unknown)!r}; there are {', '.join(MODULES)}")
    quiet_tensorflow()
    kept = True
    for name in arguments.modules or MODULES:
        for row in importlib.import_module(f"benchmarks.training.{name}").rows(arguments.rounds):
            kept = kept and row.kept
            print(json.dumps(row._asdict()) if arguments.json else row.line(), flush=True)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
