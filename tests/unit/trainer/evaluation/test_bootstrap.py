"""Ranking metrics under resampling against scikit-learn's, and intervals that cover the true value."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from tests.support.scores import drawn
from trainer.evaluation.bootstrap import (
    percentile_interval,
    resample_weights,
    weighted_average_precision,
    weighted_micro_f1,
    weighted_roc_auc,
)

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("levels", [None, 8])
def test_figures_are_those_of_scikit_learn_with_any_weights(levels: int | None) -> None:
    scores, truth = drawn(200, 0, levels)
    weights = np.concatenate([np.ones((1, 200)), *resample_weights(200, 5)])
    for row, precision, area in zip(
        weights,
        weighted_average_precision(scores, truth, weights),
        weighted_roc_auc(scores, truth, weights),
        strict=True,
    ):
        assert precision == pytest.approx(average_precision_score(truth, scores, sample_weight=row))
        assert area == pytest.approx(roc_auc_score(truth, scores, sample_weight=row))
    answers, truths = np.random.default_rng(1).random((2, 200, 4)) < 0.4
    for row, found in zip(weights, weighted_micro_f1(answers, truths, weights), strict=True):
        assert found == pytest.approx(f1_score(truths, answers, average="micro", sample_weight=row))


def test_what_is_undefined_is_no_number() -> None:
    scores, once = np.linspace(0, 1, 5, dtype=np.float32), np.ones((1, 5))
    for truth in (np.zeros(5, bool), np.ones(5, bool)):
        assert np.isnan(weighted_roc_auc(scores, truth, once)).all()
    assert np.isnan(weighted_average_precision(scores, np.zeros(5, bool), once)).all()
    assert weighted_micro_f1(np.zeros((5, 2), bool), np.zeros((5, 2), bool), once) == [0]


def test_resamples_draw_as_many_as_there_are_and_are_always_the_same() -> None:
    blocks = list(resample_weights(3_000, 2_000))
    assert len(blocks) > 1
    weights = np.concatenate(blocks)
    assert weights.shape == (2_000, 3_000)
    assert (weights.sum(axis=1) == 3_000).all()
    np.testing.assert_array_equal(np.concatenate(list(resample_weights(3_000, 2_000))), weights)


def test_the_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    covered = 0
    truth = weighted_roc_auc(*drawn(200_000, 999), np.ones((1, 200_000)))[0]
    for seed in range(200):
        scores, positives = drawn(150, seed)
        low, high = percentile_interval(
            np.concatenate([weighted_roc_auc(scores, positives, w) for w in resample_weights(150, 200)])
        )
        covered += low <= truth <= high
    assert 0.88 <= covered / 200 <= 0.99
