"""What pictures take in memory must not follow from how many there are, and no step may fault its memory in anew."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.timing import peak_memory
from benchmarks.training import memory
from benchmarks.training.folders import many_pictures
from tests.support.commands import run_pocketlens, succeed
from trainer.fitting.memory import reuse_memory

FEW, MANY = 60, 600
SIDE = 224
#: Of an epoch.
STEPS = 20


def main(folder: str, cache: str) -> None:
    """In a process of its own, without TensorFlow, whose memory would hide much: everything that reads pictures."""
    import numpy as np

    from runtime import ImageInput
    from trainer.data import Geometry, load_dataset
    from trainer.data.normalization import measure_scaling

    data = load_dataset(folder, Geometry((SIDE, SIDE), "rgb"), cache="none" if cache == "none" else "temporary")
    assert isinstance(data.input, ImageInput)
    measure_scaling(data.input, data.pixels, np.arange(len(data.targets)))
    data.source.digest()
    for start in range(0, len(data.targets), 32):
        data.pixels[start : start + 32]


@pytest.mark.parametrize("cache", ["temporary", "none"])
def test_ten_times_the_pictures_take_no_more_memory(cache: str, tmp_path: Path) -> None:
    few, many = (peak_memory(__name__, str(many_pictures(count, tmp_path)), cache) for count in (FEW, MANY))
    decoded = MANY * SIDE * SIDE * 3 / 1e6
    assert decoded > 90
    assert many - few < 20, f"{few:.0f} MB with {FEW} pictures, {many:.0f} MB with {MANY}"


@pytest.mark.slow
def test_a_training_on_ten_times_the_pictures_takes_no_more_memory() -> None:
    for row in memory.rows(memory.MOST_ROUNDS):
        assert row.kept, row.line()


def faults(folder: Path, epochs: int) -> int:
    """Minor page faults of the whole command, as on a processor for which TensorFlow leaves oneDNN out."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    settings = ("--batch-size", 64, "--steps-per-epoch", STEPS, "--epochs", epochs)
    command = ("train", "--dataset", "digits", *settings, "--out", folder / f"run-{epochs}")
    succeed(run_pocketlens(*command, TF_ENABLE_ONEDNN_OPTS="0"))
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_a_step_uses_the_memory_of_the_last_one(tmp_path: Path) -> None:
    few, many = 1, 5
    each = (faults(tmp_path, many) - faults(tmp_path, few)) / (STEPS * (many - few))
    assert each < 2000, f"{each:,.0f} minor faults a step"  # with the mmap threshold alone: 10,700


M_ARENA_MAX, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -8, -1, -3


@pytest.mark.parametrize(
    ("variables", "left_alone"),
    [
        ({}, set()),
        ({"MALLOC_ARENA_MAX": "4"}, {M_ARENA_MAX}),
        ({"MALLOC_TRIM_THRESHOLD_": "1000000"}, {M_TRIM_THRESHOLD}),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000000:glibc.malloc.arena_max=2"},
            {M_MMAP_THRESHOLD, M_ARENA_MAX},
        ),
        ({"GLIBC_TUNABLES": "glibc.malloc.check=1", "TF_CPU_ALLOCATOR_USE_BFC": "false"}, set()),
    ],
)
def test_what_the_user_set_stays(
    variables: dict[str, str], left_alone: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(variables)
    asked: dict[int, int] = {}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace(mallopt=asked.__setitem__))
    reuse_memory()
    assert asked.keys() == {M_ARENA_MAX, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD} - left_alone
    assert environment["TF_CPU_ALLOCATOR_USE_BFC"] == variables.get("TF_CPU_ALLOCATOR_USE_BFC", "true")


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    reuse_memory()
    assert not environment
