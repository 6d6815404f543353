"""The data set of a search: training and validation samples. The test split is empty in all that a trial gets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Contract
from runtime.input_spec import InputSpec
from trainer.data.datasets import load_described
from trainer.data.run_folder import RUN_MARKER, RunFolder, write_splits
from trainer.data.sources import Indices, Source
from trainer.data.splits import make_splits


@dataclass(frozen=True)
class SearchData:
    """The samples that a search may look at.

    Attributes:
        description: what `load_described` takes, without the geometry.
        name: of the data set.
        labels, task: as in `Dataset`.
        input: the data set's own geometry, or the names of its features.
        augmentation: changes to a training image that keep its label.
        source: all samples; those of the test split are in no split here.
        targets: int64, as in `RunFolder`.
        splits: indices by name; "test" is empty.
        digest: SHA-256 in hex of samples, labels, targets and splits: the same on each machine.
        remarks: notes and left-out files, a line each.
    """

    description: Mapping[str, Any]
    name: str
    labels: tuple[str, ...]
    task: str
    input: InputSpec
    augmentation: tuple[str, ...]
    source: Source
    targets: npt.NDArray[np.int64]
    splits: Mapping[str, Indices]
    digest: str
    remarks: tuple[str, ...] = ()

    @classmethod
    def load(cls, description: Mapping[str, Any], seed: int) -> SearchData:
        """Load a data set, and split it as a training with this seed does.

        Raises:
            DatasetError: as `load_described`, or the data set is too small to split.
        """
        found = load_described(description)
        splits = make_splits(found.targets, found.labels, found.given, seed)
        digest = hashlib.sha256(found.source.digest().encode())
        digest.update(repr((found.labels, found.task)).encode())
        for array in (found.targets, splits.train, splits.validation, splits.test):
            digest.update(np.ascontiguousarray(array, np.int64).data)
        return cls(
            description=description,
            name=found.name,
            labels=found.labels,
            task=found.task,
            input=found.input,
            augmentation=found.augmentation,
            source=found.source,
            targets=found.targets.astype(np.int64),
            splits={**dict(splits.items()), "test": np.empty(0, np.int64)},
            digest=digest.hexdigest(),
            remarks=(*found.remarks, *(f"left out: {line}" for line in found.left_out)),
        )

    def __len__(self) -> int:
        """The number of samples of all splits, from which presets follow."""
        return len(self.targets)

    def as_run(self, folder: Path, contract: Contract) -> RunFolder:
        """A trial's folder as a run without a test split."""
        return RunFolder(folder, contract, self.source, self.targets, self.splits)

    def complete_run(self, folder: Path) -> None:
        """Make a trial's folder a run folder, which other commands read; its test split is empty.

        Raises:
            OSError: it cannot be written.
        """
        if (folder / RUN_MARKER).is_file() and not (folder / "splits.json").is_file():
            write_splits(folder, self.source, self.targets, self.task, self.splits.items())
