"""Memory of a training on a folder, and on one ten times as large: with a cache on disk, and decoding as it goes.

Both take as many steps: a peak is also a matter of how often the threads that prepare batches had their chance to need
most at once, and of that a longer training has more, whatever its folder.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import peak_memory
from benchmarks.training.folders import many_pictures
from benchmarks.training.table import Row

#: The few fill all batches that are in the making at once; with fewer the peak would not be reached.
FEW, MANY = 600, 6000
SHAPE = (224, 224, 3)
#: MB by which the peak may be higher: a thirteenth of what the pictures that came to it take when decoded.
MOST_GROWTH = 60.0
#: Passes over the many, and as many steps with the few.
EPOCHS = {FEW: 20, MANY: 2}
#: More rounds would take hours and tell no more.
MOST_ROUNDS = 3


def rows(rounds: int) -> Iterator[Row]:
    """Median of the peaks of each, in processes of their own and in turn."""
    decoded = MANY * math.prod(SHAPE) / 1e6
    for cache in ("temporary", "none"):
        peaks: dict[int, list[float]] = {FEW: [], MANY: []}
        for _ in range(min(rounds, MOST_ROUNDS)):
            for count, seen in peaks.items():
                seen.append(peak_memory(__name__, str(many_pictures(count)), cache, str(EPOCHS[count])))
        few, many = (statistics.median(peaks[count]) for count in (FEW, MANY))
        spread = max(max(seen) - min(seen) for seen in peaks.values())
        yield Row(
            f"peak memory of a training on {FEW} and on {MANY} pictures, steps alike, 224x224, batch 32, cache {cache}",
            {
                f"{FEW} pictures MB": few,
                f"{MANY} pictures MB": many,
                f"{MANY} decoded MB": decoded,
                "between runs alike MB": spread,
            },
            many - few,
            f"<= {MOST_GROWTH:.0f} MB more",
            many - few <= MOST_GROWTH,
        )


def main(folder: str, cache: str, epochs: str) -> None:
    """Train, with a network small enough that the pictures would show."""
    from runtime.native_output import quiet_tensorflow
    from trainer.config import AUGMENTATIONS, TrainingConfig
    from trainer.data import Geometry, load_dataset
    from trainer.fitting.memory import reuse_memory

    reuse_memory()  # as the command does
    quiet_tensorflow()
    from trainer.training import train

    spec = TrainingConfig("dense", units=(4,), epochs=int(epochs), batch_size=32, augmentation=AUGMENTATIONS)
    data = load_dataset(folder, Geometry(SHAPE[:2], "rgb"), cache="none" if cache == "none" else "temporary")
    with tempfile.TemporaryDirectory() as place:
        train(data, spec, checkpoint_file=Path(place) / "checkpoint.npz")
