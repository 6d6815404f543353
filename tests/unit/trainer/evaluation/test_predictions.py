"""Predictions: what scores mean for each task, and the order of mistakes and disagreements."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.predictions import Predictions, disagreements, scores_of_both

pytestmark = pytest.mark.fast

TARGETS = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], np.uint8)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_scores_of_the_second_label_become_scores_of_both(shape: tuple[int, ...]) -> None:
    second = np.array([0.25, 0.5, 1.0], np.float32).reshape(shape)
    both = scores_of_both(second)
    assert both.tolist() == [[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]
    assert both.dtype == np.float32
    assert scores_of_both(both) is both or scores_of_both(both).tolist() == both.tolist()


def test_without_a_temperature_all_scores_are_uncalibrated() -> None:
    scores, raw = np.array([[0.6, 0.4]], np.float32), np.array([[0.9, 0.1]], np.float32)
    assert Predictions(scores, np.array([0])).uncalibrated is scores
    assert Predictions(scores, np.array([0]), uncalibrated_scores=raw).uncalibrated is raw


def test_the_most_certain_mistakes_come_first_and_equal_ones_keep_their_order() -> None:
    scores = np.array([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1], [0.4, 0.6]], np.float32)
    predictions = Predictions(scores, np.array([1, 0, 0, 0]))
    assert predictions.correct.tolist() == [False, False, True, False]
    assert predictions.mistakes().tolist() == [1, 0, 3]


def test_disagreements_are_ordered_by_the_higher_score_of_both_models() -> None:
    before = np.array([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1]], np.float32)
    after = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]], np.float32)
    targets = np.array([0, 0, 0])
    assert disagreements(Predictions(before, targets), Predictions(after, targets)).tolist() == [0, 2]


def test_several_labels_disagree_by_the_labels_that_differ() -> None:
    before = np.array([[0.9, 0.4], [0.6, 0.9], [0.1, 0.1], [0.1, 0.55]], np.float32)
    after = np.array([[0.9, 0.6], [0.1, 0.9], [0.1, 0.2], [0.1, 0.45]], np.float32)
    reference, model = (Predictions(scores, TARGETS, "multilabel") for scores in (before, after))
    # Samples 0, 1 and 3 differ on one label each, which is at most 0.1, 0.4 and 0.05 from one half.
    assert disagreements(reference, model).tolist() == [1, 0, 3]
    same = disagreements(reference, reference)
    assert (same.shape, same.dtype) == ((0,), np.int64)
