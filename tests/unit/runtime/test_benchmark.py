"""Measuring every interpreter and number of threads, and the recommendation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runtime import benchmark
from runtime.benchmark import combinations
from runtime.cli.bench import recommend
from runtime.external.sandbox import LIMITS
from runtime.interpreter import installed
from tests.support.commands import run_pocketlens, succeed
from tests.support.exports import Exported, Samples


def row(interpreter: str, threads: int, median: float) -> dict[str, Any]:
    return {"interpreter": interpreter, "threads": threads, "call_ms": {"median": median}}


def test_every_interpreter_with_one_two_four_threads() -> None:
    assert list(combinations(5)) == [(name, n) for name in installed() for n in (1, 2, 4)]


def test_json_has_every_figure(digits_export: Exported, digits_samples: Samples) -> None:
    options = ("--rounds", 20, "--max-threads", 2, "--image", digits_samples.files[0])
    found = json.loads(succeed(run_pocketlens("bench", "--json", *options, digits_export.int8)).stdout)
    assert [(r["interpreter"], r["threads"]) for r in found["results"]] == list(combinations(2))
    for result in found["results"]:
        for name in ("preprocessing_ms", "invoke_ms", "call_ms"):
            assert 0 < result[name]["median"] <= result[name]["p95"] <= result[name]["p99"]
        assert result["load_ms"] > 0
        assert result["first_call_ms"] > 0
        assert result["images_per_second"] > 0
        assert 10 < result["peak_memory_mb"] < 1000
    assert found["choose"].startswith("choose --interpreter ")


def test_a_measurement_has_the_limits_of_a_trial(digits_export: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, Any] = {}

    def call(*_arguments: Any, **options: Any) -> dict[str, Any]:
        called.update(options)
        return {}

    monkeypatch.setattr(benchmark, "call_in_child", call)
    benchmark.measure(digits_export.int8, b"", installed()[0], 2, 5)
    limits = called["limits"]
    assert limits._replace(cpu_seconds=0) == LIMITS._replace(cpu_seconds=0)
    assert limits.cpu_seconds >= 2 * called["timeout"]  # two threads


def test_the_table_ends_with_what_to_choose(digits_export: Exported) -> None:
    lines = succeed(run_pocketlens("bench", "--rounds", 5, "--max-threads", 1, digits_export.float32)).stdout
    header, *rows, last = lines.splitlines()
    assert header.split()[:3] == ["interpreter", "threads", "load"]
    assert [line.split()[0] for line in rows] == installed()
    assert last.startswith("choose --interpreter ")


FAILED = {"interpreter": "x", "threads": 1, "error": "no"}


@pytest.mark.parametrize(
    ("rows", "choice"),
    [
        ([row("tflite_runtime", 1, 1.0), row("tflite_runtime", 2, 0.95)], "tflite_runtime --threads 1"),
        ([row("tflite_runtime", 1, 1.0), row("tflite_runtime", 2, 0.6)], "tflite_runtime --threads 2"),
        ([row("tflite_runtime", 1, 1.0), row("ai_edge_litert", 1, 0.2)], "ai_edge_litert --threads 1"),
        ([FAILED, row("ai_edge_litert", 4, 2)], "ai_edge_litert --threads 4"),
        ([FAILED], "pocketlens doctor"),
    ],
)
def test_more_threads_are_advised_only_where_they_pay(rows: list[dict[str, Any]], choice: str) -> None:
    assert choice in recommend(rows)


def test_what_cannot_be_measured_is_one_plain_line(digits_export: Exported, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(os.urandom(100))
    no_image = tmp_path / "no.jpg"
    no_image.write_bytes(b"no image")
    for arguments, words in (
        ((bad,), "not a TensorFlow Lite model"),
        (("--image", tmp_path / "none.jpg", digits_export.int8), "cannot be opened"),
        (("--image", no_image, digits_export.int8), "not an image"),
    ):
        result = run_pocketlens("bench", *arguments)
        assert result.returncode == 1
        assert words in result.stderr
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
