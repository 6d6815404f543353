"""`python -m fuzz` tries damaged and resealed models, changed documents and hostile images.

All are drawn from a seed, within a time limit.

The exit status is 0 if every case ended as it must, else 1. Then `findings.jsonl` lists the other cases, and the
commands that repeat them are printed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from fuzz import documents, foreign, images, memory, models, resealed
from fuzz.build_models import RESEALED, make_models
from fuzz.driver import CASE_SECONDS, Outcome, Summary, run_cases, summarize
from fuzz.folder import classify_folder

OUT = Path("build/fuzz")
GROUPS = ("models", "documents", "images", "folder", "foreign", "resealed", "memory")
_SHOWN = 20


@click.command(help=__doc__)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--seconds",
    type=float,
    default=1800,
    show_default=True,
    help="Stop after this time, even if cases remain; each group has its share.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    help="Number of cases in each group; the group folder has a tenth, and memory its own number.",
)
@click.option("--only", type=click.Choice(GROUPS), help="Run only one group.")
@click.option("--case", metavar="JSON", help="Repeat one case, given as in a finding; needs --only.")
def main(seed: int, seconds: float, count: int, only: str | None, case: str | None) -> None:
    end = time.monotonic() + seconds
    paths = make_models(OUT / "models")
    model = str(paths["digits-int8"])
    findings = OUT / "findings"
    summaries = []
    groups = (only,) if only else GROUPS
    for place, group in enumerate(groups):
        now = time.monotonic()
        deadline = now + (end - now) / (len(groups) - place)  # a slow group leaves time to those after it
        if group == "models":
            cases = [json.loads(case)] if case else models.cases(list(paths.values()), count, seed)
            run = run_cases(["models"], cases, findings)
            summaries.append(summarize("models", run, len(cases), models.is_finding, deadline))
        elif group == "images":
            cases = [json.loads(case)] if case else images.cases(count, seed)
            summaries.append(
                summarize("images", _images(model, cases, findings), len(cases), images.is_finding, deadline)
            )
        elif group == "documents":
            cases = [json.loads(case)] if case else documents.cases(count, seed)
            run = run_cases(["documents", model], cases, findings)
            summaries.append(summarize("documents", run, len(cases), documents.is_finding, deadline))
        elif group == "foreign":
            unsealed = foreign.make_models([paths["digits-int8"], paths["colour-cnn"]], OUT / "models")
            # Each model is tried in a new process, which takes a hundred times as long as checking a seal.
            cases = [json.loads(case)] if case else foreign.cases(unsealed, count, seed)
            run = run_cases(["foreign"], cases, findings, limit=foreign.CASE_SECONDS)
            summaries.append(summarize("foreign", run, len(cases), foreign.is_finding, deadline))
        elif group == "resealed":
            chosen = [paths[name] for name in RESEALED]
            cases = [json.loads(case)] if case else resealed.cases(chosen, count, seed)
            run = run_cases(["resealed"], cases, findings, limit=resealed.CASE_SECONDS)
            summaries.append(summarize("resealed", run, len(cases), resealed.is_finding, deadline))
        elif group == "memory":
            cases = [json.loads(case)] if case else memory.cases()
            run = memory.run_cases(cases, paths, OUT / "pictures")
            summaries.append(summarize("memory", run, len(cases), memory.is_finding, deadline))
        else:
            summaries.append(classify_folder(model, OUT / "folder", count // 10, seed))
    _report(summaries, findings)
    sys.exit(any(summary.findings for summary in summaries))


def _images(model: str, cases: Sequence[list[Any]], findings: Path) -> Iterator[Outcome]:
    # Separately, with another limit: making a special image takes long, and only `classify` is measured.
    special = [case for case in cases if case[0] == "file"]
    others = [case for case in cases if case[0] != "file"]
    yield from run_cases(["images", model], special, findings, limit=images.BUILD_SECONDS)
    yield from run_cases(["images", model], others, findings, limit=6 * CASE_SECONDS)


def _report(summaries: Sequence[Summary], folder: Path) -> None:
    print(
        f"\n{'':10}{'cases':>7}{'refused':>9}{'answered':>10}{'signals':>9}{'hangs':>7}{'others':>8}{'slowest':>9}{'peak':>8}"
    )
    for summary in summaries:
        counts = summary.counts
        others = summary.cases - sum(counts.get(kind, 0) for kind in ("refused", "answered", "signal", "hang"))
        slowest = f"{summary.slowest.seconds:.2f} s" if summary.slowest else ""
        peak = f"{summary.largest.peak_mb:.0f} MB" if summary.largest else ""
        print(
            f"{summary.name:10}{summary.cases:7,}{counts.get('refused', 0):9,}{counts.get('answered', 0):10,}"
            f"{counts.get('signal', 0):9}{counts.get('hang', 0):7}{others:8}{slowest:>9}{peak:>8}"
        )
    findings = [(summary.name, outcome) for summary in summaries for outcome in summary.findings]
    path = folder / "findings.jsonl"
    path.write_text("".join(json.dumps({"group": name, **outcome.as_dict()}) + "\n" for name, outcome in findings))
    if not findings:
        print("\nno findings")
        return
    print(f"\n{len(findings)} findings, in {path}; the first of them:")
    for name, outcome in findings[:_SHOWN]:
        print(f"  {outcome.kind} {outcome.seconds:.2f} s {outcome.peak_mb:.0f} MB {outcome.error[:150]}")
        print(f"    python -m fuzz --only {name} --case '{json.dumps(outcome.case)}'")


if __name__ == "__main__":
    main()
