"""A fixed sample of `make fuzz`, and proof that the harness sees what it looks for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fuzz import documents, images, models, resealed
from fuzz.driver import PEAK_MB, Outcome, run_cases, summarize
from fuzz.folder import classify_folder
from fuzz.mutations import MUTATIONS, mutate, truncations
from fuzz.readers import Readers
from fuzz.specials import SOURCES
from tests.support.exports import Exported

SEED = 1
#: Bombs and lies that are made in a moment.
SPECIALS = (
    "empty",
    "claims-50000.png",
    "claims-most.png",
    "zero-size.png",
    "icc-bomb.png",
    "claims-50000.jpg",
    "claims-progressive.jpg",
    "zero-height.jpg",
    "exif-loop.jpg",
    "exif-segments.jpg",
    "mpf-tags.jpg",
    "scans.jpg",
    "claims-50000.bmp",
    "negative.bmp",
    "claims-50000.gif",
    "blocks.gif",
    "claims-16384.webp",
    "claims-50000.tif",
    "loop.tif",
    "strips-claimed.tif",
    "fewer-strips.tif",
    "tags-claimed.tif",
    "tile-claimed.tif",
    "19.9MP-RGBA.png",
)


def test_damaged_models_are_refused(digits_export: Exported, tmp_path: Path) -> None:
    cases = models.cases([digits_export.int8, digits_export.float32], 400, SEED)
    assert len(cases) == 400
    outcomes = list(run_cases(["models"], cases, tmp_path))
    assert [outcome for outcome in outcomes if models.is_finding(outcome)] == []


def test_resealed_models_end_no_process(digits_export: Exported, tmp_path: Path) -> None:
    cases = resealed.cases([digits_export.int8, digits_export.float32], 80, SEED)
    outcomes = list(run_cases(["resealed"], cases, tmp_path, limit=resealed.CASE_SECONDS))
    assert [outcome for outcome in outcomes if resealed.is_finding(outcome)] == []
    assert {outcome.kind for outcome in outcomes} == {"refused", "answered"}


def test_hostile_images_are_answered_or_refused_in_little_memory(digits_export: Exported, tmp_path: Path) -> None:
    cases = images.cases(450, SEED, with_specials=False)
    cases += [["file", name, 0] for name in SPECIALS] + [["source", name, 0] for name in SOURCES]
    outcomes = list(run_cases(["images", str(digits_export.int8)], cases, tmp_path, limit=60))
    assert len(outcomes) == len(cases)
    assert [o for o in outcomes if o.kind not in ("refused", "answered") or o.peak_mb > PEAK_MB] == []
    whole = [o for o in outcomes if o.case[0] == "whole" and o.kind != "answered"]
    assert [o.case[1] for o in whole] == list(images.UNREADABLE)


def test_changed_documents_are_read_or_refused_in_one_line(digits_export: Exported, tmp_path: Path) -> None:
    cases = [*documents.cases(20 * len(documents.TARGETS), SEED), ["checkpoint", 1, 24], ["splits.json", 1, 85]]
    outcomes = list(run_cases(["documents", str(digits_export.int8)], cases, tmp_path, limit=60))
    assert [outcome for outcome in outcomes if documents.is_finding(outcome)] == []
    kinds = {target: {o.kind for o in outcomes if o.case[0] == target} for target in documents.TARGETS}
    assert [target for target, found in kinds.items() if "refused" not in found] == ["options"]  # click refuses those


def test_intact_documents_are_read(digits_export: Exported, tmp_path: Path) -> None:
    for read, intact in Readers(tmp_path, digits_export.int8.read_bytes()).readers.values():
        read(intact)


def test_the_command_on_a_folder_of_hostile_images(digits_export: Exported, tmp_path: Path) -> None:
    summary = classify_folder(str(digits_export.int8), tmp_path / "images", 200, SEED)
    assert summary.findings == []
    assert summary.cases > 200
    assert summary.counts["refused"] > 50


@pytest.mark.parametrize(
    ("code", "kind", "error"),
    [
        ("os.kill(os.getpid(), 11)", "signal", "SIGSEGV"),
        ("os._exit(7)", "died", "exit status 7"),
        ("time.sleep(60)", "hang", ""),
        ("raise KeyError(1)", "died", "exit status 1"),
    ],
)
def test_the_harness_sees_what_it_looks_for(
    code: str, kind: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that misbehaves at its second case, and is replaced for the third."""
    script = tmp_path / "python"
    script.write_text(
        f"""#!/bin/sh
exec {json.dumps(sys.executable)} -c '
import os, time
from fuzz.driver import serve
def run(case):
    if case == ["bad"]:
        {code}
    return "refused", "a reason"
serve(run)'
"""
    )
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    run = run_cases([], [["good"], ["bad"], ["good"]], tmp_path, limit=1 if kind == "hang" else 30)
    summary = summarize("test", run, 3, models.is_finding, float("inf"))
    assert summary.counts == {"refused": 2, kind: 1}
    assert [(found.case, found.error) for found in summary.findings] == [(["bad"], error)]


def test_an_answer_from_a_damaged_model_or_too_much_memory_is_a_finding() -> None:
    assert models.is_finding(Outcome(["mutate"], "answered", "", 0.1, 50))
    assert images.is_finding(Outcome(["mutant", "x.png"], "answered", "", 0.1, 301))
    assert images.is_finding(Outcome(["mutant", "x.png"], "refused", "", 5.1, 50))
    assert not images.is_finding(Outcome(["mutant", "x.png"], "refused", "", 0.1, 50))


def test_mutants_come_again_and_are_never_the_file_itself() -> None:
    data = bytes(300)
    mutants = [mutate(data, SEED, number) for number in range(5 * len(MUTATIONS))]
    assert mutants == [mutate(data, SEED, number) for number in range(5 * len(MUTATIONS))]
    assert all(mutant != data for _, mutant in mutants)
    data = bytes(range(256))
    mutants = [mutate(data, SEED, number) for number in range(5 * len(MUTATIONS))]
    assert {name for name, _ in mutants} == {mutation.__name__ for mutation in MUTATIONS}
    assert all(mutant != data for _, mutant in mutants)


def test_truncations_are_every_length_at_the_ends_and_steps_between() -> None:
    lengths = truncations(100_000, 50)
    assert set(range(200)) | set(range(99_800, 100_000)) < set(lengths)
    assert 430 <= len(lengths) <= 450
    assert truncations(10, 5) == list(range(10))
