"""Figures of order against scikit-learn's, and intervals that hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from trainer.evaluation.bootstrap import (
    percentile_interval,
    resample_weights,
    weighted_average_precision,
    weighted_micro_f1,
    weighted_roc_auc,
)
from trainer.evaluation.comparison import compare, compare_metrics
from trainer.evaluation.predictions import Predictions, scores_of_both


def drawn(count: int, seed: int, levels: int | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Scores that tell something of the truth; of few levels many are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.3
    scores = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    return (scores if levels is None else np.round(scores * levels) / levels).astype(np.float32), truth


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


def test_a_figure_that_the_pictures_leave_undefined_is_left_out() -> None:
    one_class = both(np.linspace(0, 1, 20, dtype=np.float32), np.ones(20, bool), "binary")
    assert [metric.name for metric in compare_metrics(one_class, one_class)] == ["accuracy"]
    nothing = both(np.full((20, 3), 0.2, np.float32), np.zeros((20, 3), bool), "multilabel")
    assert [(metric.name, metric.value) for metric in compare_metrics(nothing, nothing)] == [("micro_f1", 0.0)]
    half = both(np.full((20, 2), 0.2, np.float32), np.eye(2, dtype=bool)[[0] * 20], "multilabel")
    precision, _ = compare_metrics(half, half)
    assert (precision.value, precision.interval) == (1.0, (1.0, 1.0))


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


def both(scores: npt.NDArray[Any], truth: npt.NDArray[Any], task: str) -> Predictions:
    return Predictions(scores_of_both(scores) if task == "binary" else scores, truth.astype(np.int64), task)


def test_a_binary_model_beside_the_reference() -> None:
    scores, truth = drawn(400, 3)
    noisy = np.clip(scores + np.random.default_rng(5).normal(0, 0.15, 400).astype(np.float32), 0, 1)
    reference, worse = both(scores, truth, "binary"), both(noisy, truth, "binary")
    found = compare(worse, reference)
    accuracy, area = found.metrics
    assert [accuracy.name, area.name] == ["accuracy", "roc_auc"]
    assert (accuracy.value, accuracy.interval) == (found.accuracy, found.accuracy_interval)
    assert area.value == pytest.approx(roc_auc_score(truth, noisy))
    assert area.drop == pytest.approx(roc_auc_score(truth, scores) - roc_auc_score(truth, noisy))
    assert area.drop > 0
    assert area.interval[0] < area.value < area.interval[1]
    assert area.drop_interval[0] < area.drop < area.drop_interval[1]
    assert found.drop == accuracy.drop
    assert found.confusion.sum() == 400
    same = compare(reference, reference)
    assert [(m.drop, m.drop_interval) for m in same.metrics][1] == (0, (0, 0))


def test_a_multilabel_model_beside_the_reference() -> None:
    columns = [drawn(300, seed) for seed in (1, 2, 3)]
    scores, truth = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
    worse = scores.copy()
    worse[:, 1] = np.random.default_rng(0).random(300)
    reference, found = (
        both(scores, truth, "multilabel"),
        compare(both(worse, truth, "multilabel"), both(scores, truth, "multilabel")),
    )
    precision, harmonic = found.metrics
    assert [precision.name, harmonic.name] == ["mean_average_precision", "micro_f1"]
    expected = [average_precision_score(truth[:, i], worse[:, i]) for i in range(3)]
    assert precision.value == pytest.approx(np.mean(expected))
    assert found.by_class() == pytest.approx(expected)
    assert harmonic.value == pytest.approx(f1_score(truth, worse >= 0.5, average="micro"))
    assert found.drop == precision.drop > 0.05
    assert found.worst_class == 1
    assert found.class_drop == pytest.approx(average_precision_score(truth[:, 1], scores[:, 1]) - expected[1])
    assert found.agreement == pytest.approx(((worse >= 0.5) == (scores >= 0.5)).all(axis=1).mean())
    assert found.accuracy == pytest.approx(((worse >= 0.5) == truth).all(axis=1).mean())
    assert found.confusion.shape == (3, 2, 2)
    assert found.recall == pytest.approx([((worse >= 0.5) & truth)[:, i].sum() / truth[:, i].sum() for i in range(3)])
    assert compare_metrics(reference, reference)[0].drop == 0
