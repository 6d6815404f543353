"""Memory of a training on a folder, and on one ten times as large: with a cache on disk, and decoding as it goes."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.timing import peak_memory
from tests.bench.training.folders import many_pictures
from tests.bench.training.table import Row

#: The few fill all batches that are in the making at once; with fewer the peak would not be reached.
FEW, MANY = 600, 6000
SHAPE = (224, 224, 3)
#: MB by which the peak may be higher: a thirteenth of what the pictures that came to it take when decoded.
MOST_GROWTH = 60.0


def rows(_rounds: int) -> Iterator[Row]:
    """Peak memory of each, in a process of its own."""
    decoded = MANY * math.prod(SHAPE) / 1e6
    for cache in ("temporary", "none"):
        few, many = (peak_memory(__name__, str(many_pictures(count)), cache) for count in (FEW, MANY))
        yield Row(
            f"peak memory of a training on {FEW} and on {MANY} pictures, 224x224, batch 32, cache {cache}",
            {f"{FEW} pictures MB": few, f"{MANY} pictures MB": many, f"{MANY} decoded MB": decoded},
            many - few,
            f"<= {MOST_GROWTH:.0f} MB more",
            many - few <= MOST_GROWTH,
        )


def main(folder: str, cache: str) -> None:
    """Train for two epochs, with a network small enough that the pictures would show."""
    from runtime.quiet import quiet_tensorflow
    from trainer.datasets import Geometry, load_dataset
    from trainer.spec import AUGMENTATIONS, TrainingSpec

    quiet_tensorflow()
    from trainer.training import train

    spec = TrainingSpec("dense", units=(4,), epochs=2, batch_size=32, augmentation=AUGMENTATIONS)
    data = load_dataset(folder, Geometry(SHAPE[:2], "rgb"), cache="none" if cache == "none" else "temporary")
    with tempfile.TemporaryDirectory() as place:
        train(spec, data, checkpoint_file=Path(place) / "checkpoint.npz")
