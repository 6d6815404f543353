"""Explains the surest mistakes of a model file: where in the picture the score of the wrong answer comes from.

The scoring worker runs the file, without TensorFlow. `report.explained_mistakes` draws what is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime import Classifier
from runtime.occlusion import count_calls, explain
from runtime.progress import progress
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.worker import decoded_samples, refuse_tensorflow

from .scoring import SplitScorer

#: Mistakes that are explained: each takes some 300 calls of the model.
MAX_EXPLAINED = 6


class ExplainedMistake(NamedTuple):
    """A mistake and its explanation.

    Attributes:
        place: the place of the image in the test split.
        found: the explanation, as `Explanation.as_dict` gives it.
    """

    place: int
    found: Mapping[str, Any]


def explain_mistakes(
    scorer: SplitScorer, model: Path, predictions: Predictions, labels: Sequence[str]
) -> list[ExplainedMistake]:
    """Explain the wrong answers on the test split that have the highest scores.

    Of each, the score of the predicted label is explained; for the task multilabel, the score that is furthest from the
    truth, be it of a label that is absent or of one that was missed.

    Args:
        scorer: runs the file; the run takes images.
        model: the sealed file.
        predictions: its predictions for the test split.
        labels: the labels of the contract.

    Raises:
        ExportError: the model cannot be run.
    """
    places = predictions.mistakes()[:MAX_EXPLAINED]
    if predictions.task == "multilabel":
        wrong = np.abs(predictions.scores[places] - predictions.targets[places]).argmax(axis=1)
    else:
        wrong = predictions.predicted[places]
    wanted = [(place, labels[index]) for place, index in zip(places.tolist(), wrong.tolist(), strict=True)]
    if not wanted:
        return []
    found = scorer.call("exporter.explanations:explain_samples", model, "test", wanted)
    return [ExplainedMistake(place, each) for (place, _), each in zip(wanted, found, strict=True)]


def explain_samples(model: str, library: str, samples: str, wanted: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """Explain samples of a split; the scoring worker calls this.

    Args:
        model: path of a sealed file.
        library: the interpreter's, as `Classifier` takes it.
        samples: the folder of the split's samples.
        wanted: the place of each sample, and the label whose score is explained.
    """
    classifier = Classifier(model, interpreter=library, trusted=True)
    spec = classifier.contract.image_input
    decoded = decoded_samples(samples, spec)
    layout = "bgr" if spec.colour == "bgr" else None  # decoded samples have the order of the model's channels
    with progress(len(wanted) * count_calls(spec.shape), "explaining the surest mistakes") as bar:
        found = [
            explain(classifier, decoded[place][0], label, layout=layout, advance=bar.update).as_dict()
            for place, label in wanted
        ]
    refuse_tensorflow()
    return found
