"""What a folder's pictures take in memory must not follow from how many there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.timing import peak_memory
from benchmarks.training import memory
from benchmarks.training.folders import many_pictures

FEW, MANY = 60, 600
SIDE = 224


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
