"""Compares the memory of a training on a small folder and on one ten times as large, with and without a cache on disk.

Both trainings have the same number of steps. The threads that prepare batches need most memory when their peaks
coincide, and the longer a training takes, the more often that happens, whatever the size of its folder.
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

#: The small folder is large enough to fill all batches that are prepared at the same time.
FEW, MANY = 600, 6000
SHAPE = (224, 224, 3)
#: The large folder's peak may be higher by this many MB: a thirteenth of the size of its further pictures, decoded.
MOST_GROWTH = 60.0
#: Epochs by size of the folder, for the same number of steps.
EPOCHS = {FEW: 20, MANY: 2}
#: More rounds would take hours and would not change the medians.
MOST_ROUNDS = 3


def rows(rounds: int) -> Iterator[Row]:
    """Compare the median peaks of the two folders. The trainings alternate, each in a new process."""
    decoded = MANY * math.prod(SHAPE) / 1e6
    for cache in ("temporary", "none"):
        peaks: dict[int, list[float]] = {FEW: [], MANY: []}
        for _ in range(min(rounds, MOST_ROUNDS)):
            for count, values in peaks.items():
                values.append(peak_memory(__name__, str(many_pictures(count)), cache, str(EPOCHS[count])))
        few, many = (statistics.median(peaks[count]) for count in (FEW, MANY))
        spread = max(max(values) - min(values) for values in peaks.values())
        yield Row(
            f"peak memory of a training on {FEW} and on {MANY} pictures, equal steps, 224x224, batch 32, cache {cache}",
            {
                f"{FEW} pictures MB": few,
                f"{MANY} pictures MB": many,
                f"{MANY} decoded MB": decoded,
                "between equal runs MB": spread,
            },
            many - few,
            f"<= {MOST_GROWTH:.0f} MB more",
            many - few <= MOST_GROWTH,
        )


def main(folder: str, cache: str, epochs: str) -> None:
    """Train a network so small that pictures kept in memory would show."""
    from runtime.native_output import quiet_tensorflow
    from trainer.config import AUGMENTATIONS, TrainingConfig
    from trainer.data import Geometry, load_dataset
    from trainer.fitting.memory import reuse_memory

    reuse_memory()  # as the command does
    quiet_tensorflow()
    from trainer.training import train

    config = TrainingConfig("dense", units=(4,), epochs=int(epochs), batch_size=32, augmentation=AUGMENTATIONS)
    data = load_dataset(folder, Geometry(SHAPE[:2], "rgb"), cache="none" if cache == "none" else "temporary")
    with tempfile.TemporaryDirectory() as folder_name:
        train(data, config, checkpoint_file=Path(folder_name) / "checkpoint.npz")
