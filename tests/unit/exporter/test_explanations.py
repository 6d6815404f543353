"""Which mistakes the report explains, and how it shows them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from exporter.explanations import MAX_EXPLAINED, ExplainedMistake, explain_mistakes
from exporter.report.explained_mistakes import explained_figures
from exporter.scoring import SplitScorer
from runtime import Contract, ImageInput
from trainer.data.run_folder import RunFolder
from trainer.data.sources import ArraySource
from trainer.evaluation.predictions import Predictions

LABELS = ("a", "<b>", "猫")
#: What a worker finds for one image.
FOUND = {
    "label": "<b>",
    "score": 0.875,
    "drops": [[0.5, 0.0], [0.0, -0.25]],
    "full_colour": 0.5,
    "largest_drop": 0.6,
    "largest_rise": 0.3,
    "region": {"left": 0, "top": 0, "right": 4, "bottom": 4, "score_without": 0.25, "share": 0.714},
}


class Scorer:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.wanted: list[tuple[int, str]] = []

    def call(self, function: str, model: Path, split: str, wanted: list[tuple[int, str]]) -> list[dict[str, Any]]:
        assert (function, split) == ("exporter.explanations:explain_samples", "test")
        self.wanted = wanted
        return [{"label": label} for _, label in wanted]


def wanted_of(predictions: Predictions) -> list[tuple[int, str]]:
    scorer = Scorer()
    found = explain_mistakes(cast("SplitScorer", scorer), Path("int8.tflite"), predictions, LABELS)
    assert [(mistake.place, mistake.found["label"]) for mistake in found] == scorer.wanted
    return scorer.wanted


def test_the_surest_wrong_answers_are_explained() -> None:
    scores = np.array([[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.05, 0.05, 0.9], [0.1, 0.8, 0.1]], np.float32)
    assert wanted_of(Predictions(scores, np.array([0, 0, 1, 0]))) == [(2, "猫"), (3, "<b>"), (1, "<b>")]
    many = np.tile(np.array([[0.1, 0.9, 0]], np.float32), (20, 1))
    assert len(wanted_of(Predictions(many, np.zeros(20, int)))) == MAX_EXPLAINED
    assert wanted_of(Predictions(many, np.ones(20, int))) == []


def test_of_several_labels_the_worst_one_is_explained() -> None:
    """One label too many, and one that was missed."""
    scores = np.array([[0.9, 0.8, 0.1], [0.1, 0.4, 0.02], [0.9, 0.1, 0.1]], np.float32)
    targets = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0]])
    assert wanted_of(Predictions(scores, targets, "multilabel")) == [(1, "猫"), (0, "<b>")]


def test_each_is_a_small_picture_with_a_sentence() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 300, 400, 3), dtype=np.uint8)
    contract = Contract(LABELS, ImageInput(300, 400, "bgr"))
    splits = {"train": np.arange(0), "validation": np.arange(0), "test": np.array([1, 2])}
    run = RunFolder(Path("run"), contract, ArraySource(images), np.array([0, 0, 2]), splits)
    predictions = Predictions(np.array([[0.1, 0.9, 0], [0.3, 0.5, 0.2]], np.float32), np.array([0, 2]))
    flat = {**FOUND, "region": None, "largest_drop": 0.004, "largest_rise": 0.003}
    figures = explained_figures(run, "int8", predictions, [ExplainedMistake(0, FOUND), ExplainedMistake(1, flat)])
    assert [figure.caption for figure in figures] == [
        "image 1 is a; int8 says <b>. The score of <b> is 0.88, and 0.25 without the framed part.",
        "image 2 is 猫; int8 says <b>. The score of <b> is 0.88, and no part changes it by more than 0.004.",
    ]
    for figure in figures:
        assert len(figure.png) < 200_000
        with Image.open(io.BytesIO(figure.png)) as image:
            assert image.size == (2 * 180 + 16, 135)
    again = explained_figures(run, "int8", predictions, [ExplainedMistake(0, FOUND)])
    assert again[0].png == figures[0].png
