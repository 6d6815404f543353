"""How well a model answers under corruptions: its figures from the scores of the corrupted pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from runtime import Contract

from ..data.samples import sample_in_proportion
from ..errors import RunError
from .bootstrap import Resampled, resample_weights
from .comparison import around, label_precisions, mean_average_precision
from .corruptions import CORRUPTIONS, SEVERITIES
from .intervals import Interval, wilson_interval
from .metrics import HEADLINES
from .predictions import Places, Predictions, Scores, Targets

#: Without a number of images, so many pixels are measured, and as many images at least and at most. A small network
#: then takes less than a minute on two cores, at 28 pixels as at 224.
_PIXELS = 3_000_000
_LEAST_IMAGES, _MOST_IMAGES = 100, 1000
#: Average precision is computed for each label and version anew: fewer resamples than for accuracy.
_RANKING_RESAMPLES = 100
#: What the mean over all corruptions and severities is called.
TITLES = {"accuracy": "mean corruption accuracy", "mean_average_precision": "mean corruption average precision"}


class ClassFigure(NamedTuple):
    """One class: its recall (multilabel: average precision) under corruptions and without, and its images."""

    label: str
    mean: float
    clean: float
    images: int


@dataclass(frozen=True, eq=False)
class Robustness:
    """A model's figures under corruptions; all values are shares, intervals of 95 %.

    Attributes:
        metric: `"accuracy"`, or for multilabel `"mean_average_precision"`.
        images: how many were measured, of `total` in the split.
        total: all images of the split.
        seed: of what was drawn at random.
        clean, clean_interval: of the same images without a corruption.
        by_corruption: the metric at each of `SEVERITIES`.
        mean: the mean over all corruptions and severities.
        mean_interval: how far the choice of the images could have moved it, by resampling them.
        classes: the classes that have images.
        resampled: `mean` for each resample, shape (resamples,); models on the same images have the same resamples.
    """

    metric: str
    images: int
    total: int
    seed: int
    clean: float
    clean_interval: Interval
    by_corruption: Mapping[str, tuple[float, ...]]
    mean: float
    mean_interval: Interval
    classes: tuple[ClassFigure, ...]
    resampled: Resampled

    @property
    def title(self) -> str:
        """What `mean` is called, such as "mean corruption accuracy"."""
        return TITLES[self.metric]

    @property
    def weakest_corruption(self) -> str:
        """The corruption under which the mean over the severities is lowest."""
        return min(self.by_corruption, key=self.mean_of)

    @property
    def weakest_class(self) -> ClassFigure | None:
        """The class with the lowest figure under corruptions; None where no image has a label."""
        return min(self.classes, key=lambda each: each.mean, default=None)

    def mean_of(self, corruption: str) -> float:
        """The mean over the severities of one corruption."""
        return sum(self.by_corruption[corruption]) / len(SEVERITIES)

    def drop_of(self, other: Robustness) -> tuple[float, Interval]:
        """What another model's mean loses against this one's on the same images, with its paired interval."""
        drop = self.mean - other.mean
        return drop, around(drop, self.resampled - other.resampled)

    def as_dict(self, reference: Robustness | None = None) -> dict[str, Any]:
        """For JSON; with the drop against the figures of another model on the same images, if one is given."""
        others: dict[str, Any] = {}
        if reference is not None and reference is not self:
            drop, interval = reference.drop_of(self)
            others = {"drop": drop, "drop_interval": list(interval)}
        corruption, of_class = self.weakest_corruption, self.weakest_class
        return {
            "metric": self.metric,
            "images": self.images,
            "of": self.total,
            "seed": self.seed,
            "clean": self.clean,
            "clean_interval": list(self.clean_interval),
            "mean": self.mean,
            "mean_interval": list(self.mean_interval),
            **others,
            "severities": list(SEVERITIES),
            "by_corruption": {name: list(values) for name, values in self.by_corruption.items()},
            "weakest_corruption": {"name": corruption, "mean": self.mean_of(corruption)},
            "weakest_class": None if of_class is None else of_class._asdict(),
            "by_class": {each.label: each.mean for each in self.classes},
        }


def choose_images(contract: Contract, targets: Targets, count: int | None, seed: int) -> Places:
    """The places of the images to measure: a sample in proportion to the classes.

    Args:
        targets: the true labels of the split.
        count: how many at most; None for a number that suits the size of the images: 100 to 1,000.
        seed: of the choice.

    Raises:
        RunError: the model takes features.
    """
    spec = contract.input
    if spec.kind != "image":
        raise RunError(f"`corruptions` change images, and the model takes {spec.describe()}; leave them out")
    if count is None:
        count = min(max(_LEAST_IMAGES, _PIXELS // (spec.height * spec.width)), _MOST_IMAGES)
    return sample_in_proportion(targets, count, seed)


def measure_robustness(
    scores: Scores, targets: Targets, contract: Contract, *, total: int, seed: int, decision: float | None = None
) -> Robustness:
    """A model's figures from its scores under every corruption.

    Args:
        scores: float32, shape (n, versions, labels), n at least 1, of the versions of `corruptions.corrupted_versions`.
        targets: the true labels of the n images.
        contract: for labels and task.
        total: images of the split that the n were chosen from.
        seed: of what was drawn at random.
        decision: as in `Predictions`; None for that of the contract.
    """
    decision = contract.confidence.decision if decision is None else decision
    versions = [
        Predictions(scores[:, place], targets, contract.task, decision=decision) for place in range(scores.shape[1])
    ]
    ranked = contract.task == "multilabel" and bool(targets.any())
    found = _rank(versions) if ranked else _count(versions)
    by_severity = found.values[1:].reshape(len(CORRUPTIONS), len(SEVERITIES)).tolist()
    mean = float(found.values[1:].mean())
    return Robustness(
        metric=HEADLINES[contract.task][0] if ranked else "accuracy",
        images=len(targets),
        total=total,
        seed=seed,
        clean=float(found.values[0]),
        clean_interval=found.clean_interval,
        by_corruption={name: tuple(row) for name, row in zip(CORRUPTIONS, by_severity, strict=True)},
        mean=mean,
        mean_interval=around(mean, found.resampled),
        classes=tuple(_class_figures(found.by_class, targets, contract.labels)),
        resampled=found.resampled,
    )


class _Figures(NamedTuple):
    """The metric of each version, shape (versions,), and of each class, (labels, versions), NaN without images."""

    values: Resampled
    by_class: Resampled
    clean_interval: Interval
    resampled: Resampled


def _count(versions: list[Predictions]) -> _Figures:
    """By accuracy and recall."""
    correct = np.stack([version.correct for version in versions], axis=1)
    count, targets = len(correct), versions[0].targets
    resampled = np.concatenate([weights @ correct[:, 1:].mean(axis=1) / count for weights in resample_weights(count)])
    labels = range(versions[0].scores.shape[1])
    by_class = np.full((len(labels), len(versions)), np.nan)
    for place in labels if targets.ndim == 1 else ():  # else it is multilabel, and no image has a label
        if (targets == place).any():
            by_class[place] = correct[targets == place].mean(axis=0)
    return _Figures(correct.mean(axis=0), by_class, wilson_interval(int(correct[:, 0].sum()), count), resampled)


def _rank(versions: list[Predictions]) -> _Figures:
    """By average precision."""
    count = len(versions[0].targets)
    by_class = np.stack([label_precisions(version, np.ones((1, count)))[:, 0] for version in versions], axis=1)
    blocks = list(resample_weights(count, _RANKING_RESAMPLES))
    resampled = np.stack(
        [np.concatenate([mean_average_precision(version, weights) for weights in blocks]) for version in versions]
    )
    values = np.nanmean(by_class, axis=0)
    return _Figures(values, by_class, around(float(values[0]), resampled[0]), resampled[1:].mean(axis=0))


def _class_figures(by_class: Resampled, targets: Targets, labels: tuple[str, ...]) -> Iterator[ClassFigure]:
    for place, label in enumerate(labels):
        images = int((targets == place).sum() if targets.ndim == 1 else targets[:, place].sum())
        if images and not np.isnan(by_class[place]).any():
            yield ClassFigure(label, float(by_class[place, 1:].mean()), float(by_class[place, 0]), images)
