"""Figures from scores and targets: no files, no pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Metrics:
    """How a classifier did on one split.

    Attributes:
        accuracy: share of right answers, 0 to 1.
        per_class: label to precision, recall, f1 (0 to 1; 0 where undefined) and support (pictures).
        confusion: int array of shape (classes, classes); rows are the truth, columns the answers.
    """

    accuracy: float
    per_class: dict[str, dict[str, float]]
    confusion: npt.NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"accuracy": self.accuracy, "per_class": self.per_class, "confusion": self.confusion.tolist()}


def evaluate(scores: npt.NDArray[np.float32], targets: npt.NDArray[np.int32], labels: tuple[str, ...]) -> Metrics:
    """Metrics of scores (n, classes) against targets (n,), by scikit-learn."""
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    answers = scores.argmax(axis=1)
    classes = range(len(labels))
    columns = precision_recall_fscore_support(targets, answers, labels=classes, zero_division=0)
    per_class = {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for label, p, r, f, n in zip(labels, *columns, strict=True)
    }
    return Metrics(
        float(accuracy_score(targets, answers)), per_class, confusion_matrix(targets, answers, labels=classes)
    )
