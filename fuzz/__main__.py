"""`python -m fuzz`: damaged models and hostile images, by seed, within a bound on time.

Exit status 0: every promise held. 1: one did not; each case is in `findings.jsonl`, and the command that repeats it is
printed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from fuzz import foreign, images, models
from fuzz.build_models import make_models
from fuzz.driver import CASE_SECONDS, Outcome, Summary, run_cases, summarize
from fuzz.folder import classify_folder

OUT = Path("build/fuzz")
GROUPS = ("models", "images", "folder", "foreign")
_SHOWN = 20


@click.command(help=__doc__)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--seconds", type=float, default=1800, show_default=True, help="Stop after this long, whatever is left.")
@click.option(
    "--count",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    help="Cases of models, of images, of foreign models.",
)
@click.option("--only", type=click.Choice(GROUPS), help="One group only.")
@click.option("--case", metavar="JSON", help="Repeat one case, as a finding names it; needs --only.")
def main(seed: int, seconds: float, count: int, only: str | None, case: str | None) -> None:
    deadline = time.monotonic() + seconds
    paths = make_models(OUT / "models")
    model = str(paths["digits-int8"])
    findings = OUT / "findings"
    summaries = []
    for group in (only,) if only else GROUPS:
        if group == "models":
            cases = [json.loads(case)] if case else models.cases(list(paths.values()), count, seed)
            run = run_cases(["models"], cases, findings)
            summaries.append(summarize("models", run, len(cases), models.is_finding, deadline))
        elif group == "images":
            cases = [json.loads(case)] if case else images.cases(count, seed)
            summaries.append(
                summarize("images", _images(model, cases, findings), len(cases), images.is_finding, deadline)
            )
        elif group == "foreign":
            alone = foreign.make_models([paths["digits-int8"], paths["colour-cnn"]], OUT / "models")
            # Each is tried in a process of its own, which takes a hundred times as long as looking at a seal.
            cases = [json.loads(case)] if case else foreign.cases(alone, count, seed)
            run = run_cases(["foreign"], cases, findings, limit=foreign.CASE_SECONDS)
            summaries.append(summarize("foreign", run, len(cases), foreign.is_finding, deadline))
        else:
            summaries.append(classify_folder(model, OUT / "folder", count // 10, seed))
    _report(summaries, findings)
    sys.exit(any(summary.findings for summary in summaries))


def _images(model: str, cases: Sequence[list[Any]], findings: Path) -> Iterator[Outcome]:
    # Apart, since making a special takes long and only what `classify` takes is measured.
    special = [case for case in cases if case[0] == "file"]
    others = [case for case in cases if case[0] != "file"]
    yield from run_cases(["images", model], special, findings, limit=images.BUILD_SECONDS)
    yield from run_cases(["images", model], others, findings, limit=6 * CASE_SECONDS)


def _report(summaries: Sequence[Summary], folder: Path) -> None:
    print(
        f"\n{'':8}{'cases':>7}{'refused':>9}{'answered':>10}{'signals':>9}{'hangs':>7}{'others':>8}{'slowest':>9}{'peak':>8}"
    )
    for summary in summaries:
        counts = summary.counts
        others = summary.cases - sum(counts.get(kind, 0) for kind in ("refused", "answered", "signal", "hang"))
        slowest = f"{summary.slowest.seconds:.2f} s" if summary.slowest else ""
        peak = f"{summary.largest.peak_mb:.0f} MB" if summary.largest else ""
        print(
            f"{summary.name:8}{summary.cases:7,}{counts.get('refused', 0):9,}{counts.get('answered', 0):10,}"
            f"{counts.get('signal', 0):9}{counts.get('hang', 0):7}{others:8}{slowest:>9}{peak:>8}"
        )
    found = [(summary.name, outcome) for summary in summaries for outcome in summary.findings]
    path = folder / "findings.jsonl"
    path.write_text("".join(json.dumps({"group": name, **outcome.as_dict()}) + "\n" for name, outcome in found))
    if not found:
        print("\nno findings")
        return
    print(f"\n{len(found)} findings, in {path}; the first of them:")
    for name, outcome in found[:_SHOWN]:
        print(f"  {outcome.kind} {outcome.seconds:.2f} s {outcome.peak_mb:.0f} MB {outcome.error[:150]}")
        print(f"    python -m fuzz --only {name} --case '{json.dumps(outcome.case)}'")


if __name__ == "__main__":
    main()
