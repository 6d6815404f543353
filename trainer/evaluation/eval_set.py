"""Evaluation sets: a split of a run's own data set, or of another data set with the same labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Contract, Provenance
from runtime.files import shown

from ..data import Dataset
from ..data.relabel import choose_task
from ..data.run_folder import RunFolder
from ..data.samples import label_text, labels_of, splits_or_reason
from ..data.sources import ArraySource, FileSource, Indices, Source
from ..data.splits import make_splits
from ..errors import DatasetError, RunError
from .predictions import Predictions, Targets

#: By split: why the figures of the training's own splits are too good.
_CAUTIONS = {
    "test": "to choose by the test split makes its figures too good; choose by `split=validation`",
    "validation": "the best epoch was chosen by these",
    "train": "the model was trained on these, or on most of them",
    "all": "the model was trained on these, or on most of them",
}


@dataclass(frozen=True)
class EvaluationSet:
    """Samples with their true labels.

    Attributes:
        name: the name of the data set.
        split: `"train"`, `"validation"`, `"test"`, or `"all"` for the whole data set.
        labels: the labels of the model, in its order.
        source: all samples of the data set.
        targets: the true labels of all samples, in the model's order of labels: int32 (n,); for multilabel 0 or 1,
            uint8 (n, labels).
        chosen: indices of the split.
        caution: why the figures may be too good, or "".
        splits: all splits of the data set by name; empty if it cannot be split.
    """

    name: str
    split: str
    labels: tuple[str, ...]
    source: Source
    targets: npt.NDArray[Any]
    chosen: Indices
    caution: str = ""
    splits: Mapping[str, Indices] = field(default_factory=dict)

    @property
    def chosen_targets(self) -> Targets:
        """The true labels of the split."""
        return self.targets[self.chosen]

    def true_label(self, index: int) -> str:
        """The true label of a sample, or its labels with commas between; `(none)` without any."""
        return label_text(self.targets[index], self.labels)

    def true_labels(self, index: int) -> list[str]:
        """All true labels of a sample."""
        return labels_of(self.targets[index], self.labels)

    def name_of(self, index: int) -> str:
        """The file of a sample, or its number."""
        return shown(self.source.paths[index]) if isinstance(self.source, FileSource) else f"#{index}"

    def describe(self, predictions: Predictions, place: int) -> dict[str, object]:
        """One prediction for a sample of the split, for JSON.

        Args:
            predictions: for the split.
            place: the place of the sample in the split.
        """
        index = int(self.chosen[place])
        return {
            "index": index,
            "name": self.name_of(index),
            "truth": self.true_label(index),
            "answer": label_text(predictions.predicted[place], self.labels),
            "score": float(predictions.prediction_scores[place]),
        }


def from_run(run: RunFolder, split: str) -> EvaluationSet:
    """A split of the data that a run was trained on.

    Raises:
        RunError: the split is empty, or a sample in it has no class.
    """
    chosen = np.sort(np.concatenate([*run.splits.values()] if split == "all" else [run.splits[split]]))
    if not len(chosen):
        raise RunError(f"{run.name}: its {split} split is empty; choose another `split`")
    if (run.targets[chosen] < 0).any():
        raise RunError(f"{run.name}: a sample of its {split} split has no class; train again")
    name, labels = run.contract.provenance.dataset, run.contract.labels
    return EvaluationSet(name, split, labels, run.source, run.targets, chosen, _CAUTIONS[split], run.splits)


def from_dataset(
    dataset: Dataset, contract: Contract, split: str, seed: int, model: str, run: RunFolder | None = None
) -> EvaluationSet:
    """A split of a data set, for a model with the same labels in any order.

    Args:
        seed: of the splits.
        model: its name, for messages.
        run: the run that the model belongs to, which knows the samples it was trained on; None for a model file.

    Raises:
        DatasetError: the data set has other labels or another kind of input, or it cannot be split.
    """
    dataset = with_task_of(contract, dataset)
    if set(dataset.labels) != set(contract.labels):
        raise DatasetError(
            f"{model} answers {_first(contract.labels)}; {dataset.name} has {_first(dataset.labels)}: expected the "
            "same labels; `merge` joins classes of a data set"
        )
    check_input(dataset, contract, model)
    splits, chosen = choose_split(dataset, split, seed)
    caution = caution_for(dataset, contract, split, seed, chosen, run)
    if caution and caution not in _CAUTIONS.values():
        caution += "; measure the run without `dataset`" if run else "; measure its run instead"
    targets = _targets_in_order(dataset, contract.labels)
    return EvaluationSet(dataset.name, split, contract.labels, dataset.source, targets, chosen, caution, splits)


def check_input(dataset: Dataset, contract: Contract, model: str) -> None:
    """Refuse a data set with another kind of input than a model takes; raises DatasetError."""
    ours, wanted = dataset.input, contract.input
    if ours.kind != wanted.kind or getattr(ours, "names", 0) != getattr(wanted, "names", 0):
        raise DatasetError(f"{model} takes {_input_text(wanted)}; {dataset.name} has {_input_text(ours)}")


def choose_split(dataset: Dataset, split: str, seed: int) -> tuple[dict[str, Indices], Indices]:
    """All splits of a data set, none if `split` is "all" and it cannot be split; and the indices of the chosen one."""
    if split == "all":
        return dict(splits_or_reason(dataset, seed)[0]), np.arange(len(dataset.targets))
    splits = dict(make_splits(dataset.targets, dataset.labels, dataset.given, seed).items())
    return splits, splits[split]


def caution_for(
    dataset: Dataset, contract: Contract, split: str, seed: int, chosen: Indices, run: RunFolder | None
) -> str:
    """Why a model's figures on samples of a data set may be too good, or "".

    Args:
        run: the run that the model belongs to; None for a model file.
    """
    if run:
        return _caution_for_run(run, dataset.source, chosen)
    return _caution_for_file(dataset, contract.provenance, split, seed)


def _caution_for_run(run: RunFolder, source: Source, chosen: Indices) -> str:
    """How many of the samples the run was trained on: a data set that has changed is not split as it was then."""
    known = {*run.source.digests(np.concatenate([run.splits["train"], run.splits["validation"]]))}
    count = sum(digest in known for digest in source.digests(chosen))
    if not count:
        return ""
    return f"{count:,} of these {len(chosen):,} samples were trained on, or chosen by: their figures are too good"


def _caution_for_file(dataset: Dataset, provenance: Provenance, split: str, seed: int) -> str:
    """A caution for a model file from a data set of the same name: the file does not list its samples."""
    if dataset.name != provenance.dataset:
        return ""
    # An array has its publisher's date and never changes: the same seed splits it in the same way.
    unchanged = isinstance(dataset.source, ArraySource) and (dataset.date, seed) == (provenance.date, provenance.seed)
    if unchanged or split in dataset.given:
        return "" if split == "test" else _CAUTIONS[split]
    return "a model file does not know its training data: it may have seen some of these"


def with_task_of(contract: Contract, dataset: Dataset) -> Dataset:
    """The data set for the task of a model: as it is, or for binary the model's positive label against the rest."""
    if contract.task != "binary":
        return choose_task(dataset, contract.task)
    positive = contract.labels[1]
    return choose_task(dataset, positive=positive) if positive in dataset.labels else dataset


def _targets_in_order(dataset: Dataset, labels: tuple[str, ...]) -> npt.NDArray[Any]:
    if dataset.targets.ndim == 2:
        return dataset.targets[:, [dataset.labels.index(label) for label in labels]]
    places = np.array([labels.index(label) for label in dataset.labels], np.int32)
    classes: npt.NDArray[np.int32] = places[dataset.targets]
    return classes


def _first(labels: tuple[str, ...], most: int = 12) -> str:
    return ", ".join(map(shown, labels[:most])) + f" and {len(labels) - most} more" * (len(labels) > most)


def _input_text(spec: Any) -> str:
    return f"features {_first(spec.names)}" if spec.kind == "features" else "images"
