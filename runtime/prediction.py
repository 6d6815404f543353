"""Ranking: from a vector of scores to labelled predictions. Pure functions, no interpreter."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

#: The label of an answer that no score was high enough for.
UNKNOWN = "unknown"
#: Up to so many scores, sorting in Python takes less time than calling numpy.
_FEW = 50


class Prediction(NamedTuple):
    """One answer: a frozen value, and a tuple of its three fields (a dataclass takes ten times as long to define).

    Attributes:
        label: the class's name.
        score: its probability, 0 to 1.
        index: its place among the model's outputs; -1 for `UNKNOWN`.

    Example:
        >>> Prediction("cat", 0.75, 0).as_dict()
        {'label': 'cat', 'score': 0.75, 'index': 0}
    """

    label: str
    score: float
    index: int  # type: ignore[assignment]  # not tuple.index

    def as_dict(self) -> dict[str, Any]:
        """`{"label": ..., "score": ..., "index": ...}`, for JSON."""
        return {"label": self.label, "score": self.score, "index": self.index}


def choose_labels(
    labels: tuple[str, ...], allow: Collection[str] | None, deny: Collection[str]
) -> npt.NDArray[np.int64] | None:
    """Indices of the labels that may be answered, in their order; `None` for all of them.

    Raises:
        ValueError: a name that is no label, or nothing is left.
    """
    if allow is None and not deny:
        return None
    for name in (*(allow or ()), *deny):
        if name not in labels:
            raise ValueError(f"no label {name!r}; the model has {', '.join(labels[:20])}{', ...' * (len(labels) > 20)}")
    chosen = [i for i, label in enumerate(labels) if (allow is None or label in allow) and label not in deny]
    if not chosen:
        raise ValueError("allow and deny leave no label to answer with")
    return np.array(chosen)


def rank(
    scores: npt.NDArray[np.float32],
    labels: Sequence[str],
    top: int,
    min_score: float = 0.0,
    chosen: npt.NDArray[np.int64] | None = None,
) -> list[Prediction]:
    """The `top` highest scores, highest first, equal ones in the order of the outputs.

    Args:
        scores: float32, shape (n,).
        labels: n names.
        top: answers at most, at least 1.
        min_score: answers below it are left out. Where none is left, the one answer is `UNKNOWN`, with the
            score that was best and the index -1, so that there always is a first answer.
        chosen: indices of the labels that may be answered; all of them without it.

    Example:
        >>> rank(np.array([0.25, 0.75], np.float32), ("cat", "dog"), top=1)
        [Prediction(label='dog', score=0.75, index=1)]
        >>> rank(np.array([0.25, 0.75], np.float32), ("cat", "dog"), top=2, min_score=0.9)
        [Prediction(label='unknown', score=0.75, index=-1)]
    """
    values = scores.tolist()
    order: Sequence[int] = range(len(values)) if chosen is None else chosen.tolist()
    if len(order) <= _FEW:
        order = sorted(order, key=values.__getitem__, reverse=True)[:top]
    else:
        order = np.asarray(order)[np.argsort(-scores[order], kind="stable")[:top]].tolist()
    answers = [Prediction(labels[i], values[i], i) for i in order]
    if answers[0].score < min_score:
        return [Prediction(UNKNOWN, answers[0].score, -1)]
    if answers[-1].score < min_score:
        return [answer for answer in answers if answer.score >= min_score]
    return answers
