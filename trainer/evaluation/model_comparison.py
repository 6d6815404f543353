"""Whether a new model is better than an old one: paired on the same samples, as a whole and for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from .comparison import MetricComparison, compare_metrics, metric_title
from .intervals import Interval, mcnemar_p_value, paired_interval
from .predictions import Places, Predictions, disagreements

BETTER, SAME, WORSE = "better", "not shown to be different", "worse"
#: The share of comparisons of equal models that may be called different.
_LEVEL = 0.05


@dataclass(frozen=True)
class ClassChange:
    """How the recall of one class changes.

    Attributes:
        samples: with this true label.
        old, new: the recall of each model, 0 to 1.
        lost, won: samples that only the old, or only the new model recognizes.
        interval: of the change, so wide that with 95 % the intervals of all classes hold theirs (Bonferroni).
        verdict: of `BETTER`, `SAME` and `WORSE`, what the interval shows.
    """

    label: str
    samples: int
    old: float
    new: float
    lost: int
    won: int
    interval: Interval
    verdict: str

    @property
    def change(self) -> float:
        """New minus old, -1 to 1."""
        return (self.won - self.lost) / self.samples


@dataclass(frozen=True)
class ModelComparison:
    """A new model beside an old one on the same samples.

    Attributes:
        metric: the task's first metric; its `drop` is what the new model loses.
        p_value: McNemar's exact test of the hypothesis that both models are correct equally often.
        verdict: one of `BETTER`, `SAME` and `WORSE`.
        both_right, both_wrong: numbers of samples.
        lost, won: places of the samples that only the old, or only the new model predicts correctly; those whose wrong
            answer has the highest score come first.
        other_mistakes: samples that both predict wrongly, but not in the same way.
        classes: of the labels that have samples, the largest loss first.
    """

    metric: MetricComparison
    p_value: float
    verdict: str
    both_right: int
    both_wrong: int
    lost: Places
    won: Places
    other_mistakes: int
    classes: tuple[ClassChange, ...]

    @property
    def change(self) -> float:
        """What the new model gains in the metric, -1 to 1."""
        return -self.metric.drop

    @property
    def interval(self) -> Interval:
        """The 95 % interval of `change`."""
        low, high = self.metric.drop_interval
        return -high, -low

    @property
    def old(self) -> float:
        """The metric of the old model."""
        return self.metric.value + self.metric.drop

    def sentence(self) -> str:
        """The verdict in one line."""
        name = metric_title(self.metric.name)
        words = {BETTER: "is better", SAME: "is not shown to be different", WORSE: "is worse"}[self.verdict]
        low, high = (points(value) for value in self.interval)
        test = f", McNemar's p = {self.p_value:.2g}" if self.metric.name == "accuracy" else ""
        return (
            f"the new model {words}: {name} {self.old:.4f} -> {self.metric.value:.4f}, "
            f"{points(self.change)} points (95 % interval {low} to {high}{test})"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "verdict": self.verdict,
            "metric": self.metric.name,
            "old": self.old,
            "new": self.metric.value,
            "change": self.change,
            "interval": list(self.interval),
            "p_value": self.p_value,
            "counts": {
                "both_right": self.both_right,
                "lost": len(self.lost),
                "won": len(self.won),
                "both_wrong": self.both_wrong,
                "other_mistakes": self.other_mistakes,
            },
            "classes": [
                {
                    "label": each.label,
                    "samples": each.samples,
                    "old_recall": each.old,
                    "new_recall": each.new,
                    "lost": each.lost,
                    "won": each.won,
                    "change": each.change,
                    "interval": list(each.interval),
                    "verdict": each.verdict,
                }
                for each in self.classes
            ],
        }


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.2f}"


def compare_models(old: Predictions, new: Predictions, labels: Sequence[str]) -> ModelComparison:
    """A new model beside an old one.

    The accuracy is called different if McNemar's exact test gives a p-value below 0.05. The metrics of multilabel have
    no such test: they are called different if their bootstrap interval does not hold 0.

    Args:
        old, new: predictions for the same samples, at least one, with the same order of labels.
        labels: the names of the labels, in that order.
    """
    right_before, right_after = old.correct, new.correct
    both_wrong = ~right_before & ~right_after
    metric = compare_metrics(new, old)[0]
    lost, won = right_before & ~right_after, ~right_before & right_after
    p_value = mcnemar_p_value(int(lost.sum()), int(won.sum()))
    changed = disagreements(old, new)
    return ModelComparison(
        metric,
        p_value,
        _verdict(metric, p_value),
        both_right=int((right_before & right_after).sum()),
        both_wrong=int(both_wrong.sum()),
        lost=changed[lost[changed]],
        won=changed[won[changed]],
        other_mistakes=int(both_wrong[changed].sum()),
        classes=_class_changes(old, new, labels),
    )


def _verdict(metric: MetricComparison, p_value: float) -> str:
    if metric.name == "accuracy":
        different = p_value < _LEVEL
    else:
        low, high = metric.drop_interval
        different = not low <= 0 <= high
    return SAME if not different else BETTER if metric.drop < 0 else WORSE


def _class_changes(old: Predictions, new: Predictions, labels: Sequence[str]) -> tuple[ClassChange, ...]:
    members = [_members(old, place) for place in range(len(labels))]
    present = [place for place, chosen in enumerate(members) if chosen.any()]
    z = NormalDist().inv_cdf(1 - _LEVEL / (2 * max(1, len(present))))
    found = []
    for place in present:
        chosen = members[place]
        before, after = (_recognized(predictions, place)[chosen] for predictions in (old, new))
        lost, won, count = int((before & ~after).sum()), int((~before & after).sum()), len(before)
        low, high = paired_interval(lost, won, count, z)
        verdict = BETTER if high < 0 else WORSE if low > 0 else SAME
        recalls = float(before.mean()), float(after.mean())
        found.append(ClassChange(labels[place], count, *recalls, lost, won, (-high, -low), verdict))
    return tuple(sorted(found, key=lambda each: each.change))


def _members(predictions: Predictions, place: int) -> npt.NDArray[np.bool_]:
    """Whether each sample has a label, shape (n,)."""
    targets = predictions.targets
    has: npt.NDArray[np.bool_] = targets[:, place] == 1 if targets.ndim == 2 else targets == place
    return has


def _recognized(predictions: Predictions, place: int) -> npt.NDArray[np.bool_]:
    """Whether a label is predicted for each sample, shape (n,)."""
    predicted = predictions.predicted
    has: npt.NDArray[np.bool_] = predicted[:, place] == 1 if predicted.ndim == 2 else predicted == place
    return has
