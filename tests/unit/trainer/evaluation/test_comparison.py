"""A model's figures beside the reference's, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from tests.support.scores import drawn
from trainer.evaluation.comparison import compare_metrics, compare_predictions
from trainer.evaluation.predictions import Predictions, scores_of_both

pytestmark = pytest.mark.fast


def both(scores: npt.NDArray[Any], truth: npt.NDArray[Any], task: str) -> Predictions:
    return Predictions(scores_of_both(scores) if task == "binary" else scores, truth.astype(np.int64), task)


def test_a_figure_that_the_pictures_leave_undefined_is_left_out() -> None:
    one_class = both(np.linspace(0, 1, 20, dtype=np.float32), np.ones(20, bool), "binary")
    assert [metric.name for metric in compare_metrics(one_class, one_class)] == ["accuracy"]
    nothing = both(np.full((20, 3), 0.2, np.float32), np.zeros((20, 3), bool), "multilabel")
    assert [(metric.name, metric.value) for metric in compare_metrics(nothing, nothing)] == [("micro_f1", 0.0)]
    half = both(np.full((20, 2), 0.2, np.float32), np.eye(2, dtype=bool)[[0] * 20], "multilabel")
    precision, _ = compare_metrics(half, half)
    assert (precision.value, precision.interval) == (1.0, (1.0, 1.0))


def test_a_binary_model_beside_the_reference() -> None:
    scores, truth = drawn(400, 3)
    noisy = np.clip(scores + np.random.default_rng(5).normal(0, 0.15, 400).astype(np.float32), 0, 1)
    reference, worse = both(scores, truth, "binary"), both(noisy, truth, "binary")
    found = compare_predictions(worse, reference)
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
    same = compare_predictions(reference, reference)
    assert [(m.drop, m.drop_interval) for m in same.metrics][1] == (0, (0, 0))


def test_a_multilabel_model_beside_the_reference() -> None:
    columns = [drawn(300, seed) for seed in (1, 2, 3)]
    scores, truth = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
    worse = scores.copy()
    worse[:, 1] = np.random.default_rng(0).random(300)
    reference, found = (
        both(scores, truth, "multilabel"),
        compare_predictions(both(worse, truth, "multilabel"), both(scores, truth, "multilabel")),
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
