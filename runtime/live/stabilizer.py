"""From the scores of frame after frame to a state that changes seldom."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..contract import DEFAULT_DECISION, Contract
from ..postprocessing import UNKNOWN, choose_labels

#: Three of the last five frames make a state.
DEFAULT_STABLE = (3, 5)


class Change(NamedTuple):
    """A new state.

    Attributes:
        label: its label; "unknown" where no score was high enough.
        score: the averaged score of the label; for "unknown" that of the best one.
        since: the time of the first frame that spoke for it, as it was given to `update`.
        frames: how many of the last frames spoke for it.
        previous: the label of the state before; None for the first one.
    """

    label: str
    score: float
    since: float
    frames: int
    previous: str | None


class Stabilizer:
    """Makes a state of the scores of frame after frame, and says when it changes.

    Each frame speaks for one label: the one with the best averaged score, if that is at least `min_score`; otherwise
    for the present state's label, if its averaged score is still at least `release_score`; otherwise for "unknown". A
    label becomes the state when the newest frame and enough of the last frames speak for it.

    Args:
        labels: the model's labels, in the order of the scores.
        stable: (needed, last): how many of the last frames must speak for a label; more than half of them.
        min_score: a label needs it to be spoken for.
        release_score: the state's label keeps being spoken for down to this score, at most `min_score`; by default a
            frame whose best label has less than `min_score` speaks for "unknown".
        newest_weight: the weight of the newest frame in the exponential mean of the scores, above 0; 1, the default,
            averages nothing.
        allow: the only labels that may become the state; by default all of them.
        deny: labels that may not.
        decision: of two labels, the second is the best if its averaged score is at least this.

    Attributes:
        state: the label of the present state; None before the first one.

    Raises:
        ValueError: a value out of range, or a name in `allow` or `deny` that is no label.

    Example:
        >>> stabilizer = Stabilizer(["cat", "dog"], stable=(2, 3), min_score=0.6)
        >>> rows = [[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.5, 0.5], [0.5, 0.5]]
        >>> [change.label if change else None for change in map(stabilizer.update, rows)]
        [None, None, 'cat', None, 'unknown']
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        stable: tuple[int, int] = DEFAULT_STABLE,
        min_score: float = 0.0,
        release_score: float | None = None,
        newest_weight: float = 1.0,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
        decision: float = DEFAULT_DECISION,
    ) -> None:
        needed, last = stable
        if not last / 2 < needed <= last:
            raise ValueError(f"`stable` is {needed}/{last}, expected more than half of the last frames, such as 3/5")
        if release_score is not None and not release_score <= min_score:
            raise ValueError(f"`release_score` is {release_score:g}, expected at most `min_score`, {min_score:g}")
        if not 0 < newest_weight <= 1:
            raise ValueError(f"`newest_weight` is {newest_weight:g}, expected a number above 0, at most 1")
        chosen = choose_labels(tuple(labels), allow, deny)
        self.labels = tuple(labels)
        self.state: str | None = None
        self.score = 0.0
        self.since = 0.0
        self.frames = 0
        self._places = range(len(self.labels)) if chosen is None else chosen.tolist()
        self._needed = needed
        self._min_score = min_score
        self._release_score = math.inf if release_score is None else release_score
        self._weight = newest_weight
        self._decision = decision
        self._takes_threshold = False
        self._votes: deque[tuple[str, float]] = deque(maxlen=last)
        self._mean: npt.NDArray[np.float32] | None = None

    @classmethod
    def for_model(
        cls,
        contract: Contract,
        *,
        stable: tuple[int, int] = DEFAULT_STABLE,
        min_score: float | None = None,
        release_score: float | None = None,
        newest_weight: float = 1.0,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
    ) -> Stabilizer:
        """A stabilizer with the labels, the threshold and the decision of a model.

        Args:
            contract: the model's, `classifier.contract`.
            min_score: by default the model's threshold.
            stable, release_score, newest_weight, allow, deny: as for the class.

        Raises:
            ValueError: as for the class, or scores are given for a model whose scores are no probabilities.
        """
        if not contract.gives_probabilities:
            if min_score or release_score:
                raise ValueError("`min_score` is a probability, and the scores of this model are none; leave it out")
            min_score, release_score = -math.inf, None
        made = cls(
            contract.labels,
            stable=stable,
            min_score=contract.confidence.threshold if min_score is None else min_score,
            release_score=release_score,
            newest_weight=newest_weight,
            allow=allow,
            deny=deny,
            decision=_decision(contract),
        )
        made._takes_threshold = min_score is None
        return made

    def adopt(self, contract: Contract) -> None:
        """Go on with the scores of another model: its decision counts from now on, and its threshold if none was given.

        The state and the votes stay.

        Args:
            contract: of a model with the same labels and task.
        """
        self._decision = _decision(contract)
        if self._takes_threshold:
            self._min_score = contract.confidence.threshold

    def update(self, scores: Sequence[float] | npt.NDArray[np.float32], at: float | None = None) -> Change | None:
        """Take the scores of the next frame; the new state if it changes, else None.

        Args:
            scores: one a label.
            at: the frame's time, in seconds; by default now, since 1970.

        Raises:
            ValueError: another number of scores.
        """
        averaged = self._averaged(scores)
        label, score = self._vote(averaged)
        at = time.time() if at is None else at
        self._votes.append((label, at))
        if label == self.state:
            self.score = score
            self.frames += 1
            return None
        times = [when for vote, when in self._votes if vote == label]
        if len(times) < self._needed:
            return None
        change = Change(label, score, times[0], len(times), self.state)
        self.state, self.score, self.since, self.frames = label, score, times[0], len(times)
        return change

    def _averaged(self, scores: Sequence[float] | npt.NDArray[np.float32]) -> list[float]:
        new = np.asarray(scores, np.float32)
        if new.shape != (len(self.labels),):
            raise ValueError(f"scores of shape {new.shape}, expected one for each of {len(self.labels)} labels")
        if self._mean is None or self._weight == 1:
            self._mean = new
        else:
            self._mean = self._mean + np.float32(self._weight) * (new - self._mean)
        values: list[float] = self._mean.tolist()
        return values

    def _vote(self, scores: list[float]) -> tuple[str, float]:
        if self._decision != DEFAULT_DECISION and len(self._places) == 2:
            best = 1 if scores[1] >= self._decision else 0
        else:
            best = max(self._places, key=scores.__getitem__)
        if scores[best] >= self._min_score:
            return self.labels[best], scores[best]
        # The name of a label may be "unknown" too; then its score does not matter.
        if self.state is not None and self.state in self.labels:
            kept = scores[self.labels.index(self.state)]
            if kept >= self._release_score:
                return self.state, kept
        return UNKNOWN, scores[best]


def _decision(contract: Contract) -> float:
    if contract.task == "multilabel" or not contract.gives_probabilities:
        return DEFAULT_DECISION
    return contract.confidence.decision
