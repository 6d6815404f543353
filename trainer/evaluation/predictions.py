"""A model's scores on a split beside the true labels, and what they predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.contract import DEFAULT_DECISION

#: float32, shape (n, labels).
Scores: TypeAlias = npt.NDArray[np.float32]
#: int, shape (n,): the class of each sample. For the task multilabel 0 or 1, shape (n, labels).
Targets: TypeAlias = npt.NDArray[Any]
#: Places in a split, int64, shape (n,).
Places: TypeAlias = npt.NDArray[np.int64]

#: From this score on a label of the task multilabel is predicted: in training, in the exporter's figures, and by the
#: threshold of the contract. No temperature moves a score across 0.5. The second label of the task binary needs more
#: than 0.5, because `runtime.postprocessing.rank` prefers the first of two equal scores.
DECISION_THRESHOLD = DEFAULT_DECISION


def describe_outputs(task: str, labels: int) -> str:
    """What a network of a task ends in, such as "softmax over 10 classes"."""
    if task == "multiclass":
        return f"softmax over {labels} classes"
    return "one sigmoid, for the second label" if task == "binary" else f"{labels} sigmoids, one a label"


def scores_of_both(scores: Scores) -> Scores:
    """Scores of both labels of the task binary, shape (n, 2), from the second label's, shape (n,) or (n, 1).

    Scores of both labels are given back as they are.
    """
    second = scores.reshape(len(scores), -1)
    return second if second.shape[1] == 2 else np.concatenate([1 - second, second], axis=1)


@dataclass(frozen=True)
class Predictions:
    """A model's scores on a split.

    Attributes:
        scores: of all labels, as the model's contract calibrates them; for the task binary both labels' scores.
        targets: the true labels.
        task: `"multiclass"`, `"binary"` or `"multilabel"`.
        uncalibrated_scores: without the temperature of the contract; None where there is no temperature.
        output_step: the scale of the model's output; 0 where the output is float.
        interpreter: library and version that ran the model.
        decision: for the tasks binary and multilabel, the score from which on a label is predicted, as
            `Confidence.decision` has it.
    """

    scores: Scores
    targets: Targets
    task: str = "multiclass"
    uncalibrated_scores: Scores | None = None
    output_step: float = 0.0
    interpreter: str = ""
    decision: float = DECISION_THRESHOLD

    @property
    def uncalibrated(self) -> Scores:
        """The scores without a temperature."""
        return self.scores if self.uncalibrated_scores is None else self.uncalibrated_scores

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The class with the highest score, shape (n,); for multilabel 1 for each predicted label, (n, labels)."""
        if self.task == "multilabel":
            return (self.scores.astype(np.float64) >= self.decision).astype(np.int64)
        if self.decision != DECISION_THRESHOLD:  # double, as the runtime compares
            return (self.scores[:, 1].astype(np.float64) >= self.decision).astype(np.int64)
        predicted: npt.NDArray[np.int64] = self.scores.argmax(axis=1)
        return predicted

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the prediction is the true label, bool (n,); for multilabel, whether every label is correct."""
        return self.matches(self.targets)

    def matches(self, predicted: Targets) -> npt.NDArray[np.bool_]:
        """Whether the predictions are these, bool (n,); for multilabel, whether all labels are the same."""
        same: npt.NDArray[np.bool_] = self.predicted == predicted
        return same if same.ndim == 1 else same.all(axis=1)

    @property
    def prediction_scores(self) -> npt.NDArray[np.float32]:
        """The score of each prediction, float32 (n,).

        For multilabel, where every label is predicted or not, the score for that decision: where the prediction is
        wrong, of the decision that is furthest from the true one; where it is correct, of the least certain one.
        """
        if self.task != "multilabel":
            places = self.predicted[:, np.newaxis]
            of_prediction: npt.NDArray[np.float32] = np.take_along_axis(self.scores, places, axis=1)[:, 0]
            return of_prediction
        furthest = np.abs(self.scores - self.targets.astype(np.float32)).max(axis=1)
        return np.where(self.correct, 1 - furthest, furthest).astype(np.float32)

    def mistakes(self) -> Places:
        """Places of the wrong predictions, the highest score first; equal scores in the split's order."""
        places = np.flatnonzero(~self.correct)
        return places[np.argsort(-self.prediction_scores[places], kind="stable")]

    def below_threshold(self, threshold: float) -> dict[str, Any] | None:
        """How many samples a device answers with "unknown" because the best score is below the threshold.

        Returns:
            threshold, samples, wrong (how many of these predictions are wrong); None at the threshold 0, at which a
            device always answers with a label.
        """
        if not threshold:
            return None
        best = self.scores.max(axis=1) if self.task == "multilabel" else self.prediction_scores
        below = best.astype(np.float64) < threshold  # double, as the runtime compares
        return {"threshold": threshold, "samples": int(below.sum()), "wrong": int((below & ~self.correct).sum())}


def disagreements(reference: Predictions, predictions: Predictions) -> Places:
    """Places where two models predict differently, the highest score of either model first.

    Equal scores stay in the split's order. For multilabel the order is by the largest distance to the decision
    threshold among the labels on which the models differ.
    """
    places = np.flatnonzero(~predictions.matches(reference.predicted))
    pair = (reference.scores[places], predictions.scores[places])
    if predictions.task == "multilabel":
        differs = (predictions.predicted != reference.predicted)[places]
        pair = tuple(  # type: ignore[assignment]
            np.where(differs, np.abs(model.scores[places] - model.decision), 0) for model in (reference, predictions)
        )
    certainty = np.maximum(*(scores.max(axis=1, initial=0) for scores in pair))
    return places[np.argsort(-certainty, kind="stable")]
