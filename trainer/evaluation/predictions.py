"""From scores to answers: which are right, and which are wrong with the most confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .eval_set import Material
from .metrics import DECISION


@dataclass(frozen=True)
class Answers:
    """A model's answers to the samples of a material, in the order of its `chosen`.

    Attributes:
        scores: float32, shape (n, labels).
        right: bool, shape (n,); of the task multilabel whether every label is right.
        sure: float32, shape (n,): the score of the answer. Of multilabel that of the yes or no which is furthest from
            the truth; where all are right, of the one that is least sure.
    """

    material: Material
    task: str
    scores: npt.NDArray[np.float32]
    right: npt.NDArray[np.bool_]
    sure: npt.NDArray[np.float32]

    def told(self, place: int) -> str:
        """The answer to a sample: a label, or several with commas between; `(none)` where no score is high enough."""
        scores, labels = self.scores[place], self.material.labels
        if self.task != "multilabel":
            return labels[int(scores.argmax())]
        return ", ".join(label for label, score in zip(labels, scores, strict=True) if score >= DECISION) or "(none)"

    def mistakes(self) -> npt.NDArray[np.int64]:
        """Places of the wrong answers, the most confident first; equal ones in the split's order."""
        places = np.flatnonzero(~self.right)
        return places[np.argsort(-self.sure[places], kind="stable")]

    def unknown(self, threshold: float) -> dict[str, Any] | None:
        """What a device makes of them at a threshold: how many it answers "unknown", their best score being below it.

        Returns:
            threshold, samples, wrong (how many of these answers are); None at the threshold 0, which answers always.
        """
        if not threshold:
            return None
        below = self.scores.max(axis=1).astype(np.float64) < threshold  # double, as the runtime compares
        return {"threshold": threshold, "samples": int(below.sum()), "wrong": int((below & ~self.right).sum())}

    def as_dict(self, place: int) -> dict[str, object]:
        """One answer, for JSON."""
        index = int(self.material.chosen[place])
        return {
            "index": index,
            "name": self.material.name_of(index),
            "truth": self.material.truth(index),
            "answer": self.told(place),
            "score": float(self.sure[place]),
        }


def judge(material: Material, scores: npt.NDArray[np.float32], task: str) -> Answers:
    """The answers that scores are."""
    targets = material.targets[material.chosen]
    if task == "multilabel":
        right = ((scores >= DECISION) == targets.astype(bool)).all(axis=1)
        worst = np.abs(scores - targets).max(axis=1)
        return Answers(material, task, scores, right, np.where(right, 1 - worst, worst).astype(np.float32))
    return Answers(material, task, scores, scores.argmax(axis=1) == targets, scores.max(axis=1))
