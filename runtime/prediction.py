"""Ranking: from a vector of scores to labelled predictions. Pure functions, no interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer.

    Attributes:
        label: the class's name.
        score: its probability, 0 to 1.
        index: its place among the model's outputs.
    """

    label: str
    score: float
    index: int

    def as_dict(self) -> dict[str, Any]:
        """`{"label": ..., "score": ..., "index": ...}`, for JSON."""
        return {"label": self.label, "score": self.score, "index": self.index}


def rank(scores: npt.NDArray[np.float32], labels: Sequence[str], top: int) -> list[Prediction]:
    """The `top` highest scores, highest first, equal ones in the order of the outputs.

    Example:
        >>> rank(np.array([0.25, 0.75], np.float32), ("cat", "dog"), top=1)
        [Prediction(label='dog', score=0.75, index=1)]
    """
    order = np.argsort(-scores, kind="stable")[:top]
    return [Prediction(labels[i], float(scores[i]), i) for i in order.tolist()]
