"""The samples on which two models are compared, though their labels may differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from runtime import Contract
from runtime.files import shown

from ..data import Dataset
from ..data.run_folder import RunFolder
from ..errors import DatasetError, RunError
from .eval_set import EvaluationSet, caution_for, check_input, choose_split, with_task_of
from .predictions import Predictions, Scores


class KnownModel(NamedTuple):
    """A model of a comparison.

    Attributes:
        name: for people.
        run: the run that it belongs to, which knows the samples that it was trained on; None for a model file.
    """

    name: str
    contract: Contract
    run: RunFolder | None = None


@dataclass(frozen=True)
class PairedSet:
    """The same samples for two models.

    Attributes:
        samples: `labels` are those of the new model, and behind them those that the old model alone has.
        compared: the labels that both models and the data set have; the true label of each chosen sample is among
            them.
        left_out: how many samples of the split have another true label.
    """

    models: tuple[KnownModel, KnownModel]
    samples: EvaluationSet
    compared: tuple[str, ...]
    left_out: int

    def predictions(self, model: KnownModel, scores: Scores) -> Predictions:
        """A model's predictions for the chosen samples.

        Args:
            scores: float32, shape (n, labels of the model). A label that the model does not have scores 0.
        """
        arranged = np.zeros((len(scores), len(self.samples.labels)), np.float32)
        arranged[:, [self.samples.labels.index(label) for label in model.contract.labels]] = scores
        decision = model.contract.confidence.decision
        return Predictions(arranged, self.samples.chosen_targets, model.contract.task, decision=decision)


def pair_samples(dataset: Dataset, old: KnownModel, new: KnownModel, split: str, seed: int) -> PairedSet:
    """The samples of a split whose true label both models know.

    With other labels the models are still compared as they answer: on a picture of a label that both know, an answer
    that the other model cannot give is wrong.

    Args:
        split: `"train"`, `"validation"`, `"test"`, or `"all"`.
        seed: of the splits.

    Raises:
        RunError: the models have other tasks, or other labels in a task whose answers depend on all of them.
        DatasetError: the data set has a label that neither model has, another kind of input, fewer than two labels in
            common with both models, or no sample of these in the split.
    """
    _check_tasks(old, new)
    dataset = with_task_of(new.contract, dataset)
    for model in (old, new):
        check_input(dataset, model.contract, model.name)
    labels = tuple(dict.fromkeys((*new.contract.labels, *old.contract.labels)))
    compared = tuple(label for label in dataset.labels if all(label in m.contract.labels for m in (old, new)))
    _check_labels(dataset, labels, compared, old, new)
    targets = dataset.targets
    if targets.ndim == 2:
        targets = targets[:, [dataset.labels.index(label) for label in labels]]
    else:
        targets = np.array([labels.index(label) for label in dataset.labels], np.int32)[targets]
    splits, chosen = choose_split(dataset, split, seed)
    known = chosen
    if targets.ndim == 1:
        known = chosen[np.isin(targets[chosen], [labels.index(label) for label in compared])]
    if not len(known):
        raise DatasetError(f"{dataset.name}: no sample of its {split} split has a label that both models know")
    cautions = dict.fromkeys(
        f"{model.name}: {caution}"
        for model in (old, new)
        for caution in [caution_for(dataset, model.contract, split, seed, known, model.run)]
        if caution
    )
    samples = EvaluationSet(dataset.name, split, labels, dataset.source, targets, known, "; ".join(cautions), splits)
    return PairedSet((old, new), samples, compared, len(chosen) - len(known))


def _check_tasks(old: KnownModel, new: KnownModel) -> None:
    tasks = old.contract.task, new.contract.task
    if tasks[0] != tasks[1]:
        raise RunError(
            f"{old.name}: its task is {tasks[0]}, and that of {new.name} is {tasks[1]}; compare models of one task"
        )
    same = set(old.contract.labels) == set(new.contract.labels)
    if tasks[0] == "binary":
        same = old.contract.labels == new.contract.labels
    if tasks[0] != "multiclass" and not same:
        raise RunError(
            f"{old.name}: its labels are {_listed(old.contract.labels)}, and those of {new.name} are "
            f"{_listed(new.contract.labels)}; models of the task {tasks[0]} are compared with the same labels"
        )


def _check_labels(
    dataset: Dataset, labels: tuple[str, ...], compared: tuple[str, ...], old: KnownModel, new: KnownModel
) -> None:
    unknown = [label for label in dataset.labels if label not in labels]
    if unknown:
        raise DatasetError(
            f"{dataset.name}: neither model has its label {shown(unknown[0])!r}; {new.name} answers "
            f"{_listed(new.contract.labels)}; `merge` joins classes of a data set"
        )
    if dataset.targets.ndim == 2 and len(dataset.labels) != len(labels):
        raise DatasetError(f"{dataset.name} has the labels {_listed(dataset.labels)}; {new.name} has {_listed(labels)}")
    if len(compared) < 2:
        raise DatasetError(
            f"{old.name}, {new.name} and {dataset.name} have labels in common: {len(compared)}, expected two or more; "
            "name models and a data set of the same question"
        )


def _listed(labels: Sequence[str], most: int = 8) -> str:
    return ", ".join(map(shown, labels[:most])) + f" and {len(labels) - most} more" * (len(labels) > most)
