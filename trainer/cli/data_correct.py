"""`pocketlens data correct`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from runtime.cli.app import Command, with_options
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line
from runtime.files import shown

#: Moves that are printed with --dry-run; --json has all.
_MAX_LINES = 20


@click.command(
    "data correct",
    cls=Command,
    example="pocketlens data errors runs/pets --csv errors.csv\n"
    "pocketlens data correct errors.csv --dataset pets --dry-run\n"
    "pocketlens data correct errors.csv --dataset pets",
)
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False), metavar="CSV")
@with_options(
    Option(
        ("--dataset",), "The folder of images that the run was trained on.  [default: none]", type=Path, metavar="DIR"
    ),
    Option(("--dry-run",), "Move nothing; show what would be moved.", type=bool, default=False),
    JSON_OPTION,
)
def correct(table: Path, dataset: Path | None, dry_run: bool, as_json: bool) -> None:
    """Move images to the class that you have decided on, as the column decision of CSV says.

    CSV is a list of `pocketlens data errors --csv`. A decision is the name of a class, `suggested` for the suggested
    one, `remove`, or `keep`; nothing at all keeps the image too. Removed images lie in DIR-removed afterwards. All rows
    are checked before anything moves, no file is replaced, and the test split is left as it is.
    """
    from ..data.label_decisions import carry_out, read_decisions

    if dataset is None:
        raise click.UsageError("Missing option '--dataset': name the folder of images that the run was trained on")
    decisions = read_decisions(table, dataset)
    if not dry_run:
        carry_out(decisions)
    if as_json:
        moves: list[dict[str, Any]] = [
            {"source": str(move.source), "target": str(move.target), "label": move.label or None}
            for move in decisions.moves
        ]
        print_json({"moves": moves, "kept": decisions.kept, "done": decisions.done, "dry_run": dry_run})
        return
    for move in decisions.moves[:_MAX_LINES] if dry_run else ():
        print_line(f"{shown(move.source)} -> {shown(move.target)}")
    counts = Counter(bool(move.label) for move in decisions.moves)
    what = "would be moved" if dry_run else "moved"
    line = f"{shown(dataset)}: {counts[True]:,} {what} to another class, {counts[False]:,} removed, "
    print_line(f"{line}{decisions.kept:,} kept, {decisions.done:,} done before")
