"""Decision thresholds: each rule by hand, and what is no rule."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.decision_threshold import ThresholdRule, choose_threshold
from trainer.evaluation.metrics import compute_metrics
from trainer.evaluation.predictions import Predictions

pytestmark = pytest.mark.fast

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2], np.float32)
TARGETS = np.array([1, 1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("F1", 0.25),  # all four true ones and two others: F1 0.8; from 0.6 on 3 of 4: 0.75
        ("recall=0.75", 0.5),
        ("recall=0.76", 0.25),
        ("Recall = 0.5", 0.75),
        ("precision=0.9", 0.75),
        ("precision=0.7", 0.5),
        ("0.3", 0.3),
    ],
)
def test_each_rule_chooses_a_threshold(rule: str, expected: float) -> None:
    threshold, note = choose_threshold(SCORES, TARGETS, ThresholdRule.parse(rule))
    assert threshold == pytest.approx(expected)
    predicted = threshold <= SCORES
    recall, precision = (predicted & (TARGETS == 1)).sum() / 4, TARGETS[predicted].mean()
    assert f"recall {recall:.4f}, precision {precision:.4f}" in note
    # The labels of several are counted together.
    assert choose_threshold(SCORES[:, None], TARGETS[:, None], ThresholdRule.parse(rule))[0] == threshold


def test_a_threshold_lies_between_scores_and_is_never_nothing() -> None:
    close = np.array([0.5000001, 0.5], np.float32)
    threshold, _ = choose_threshold(close, np.array([1, 0]), ThresholdRule.parse("recall=0.9"))
    assert 0 < threshold <= close[0]
    threshold, note = choose_threshold(SCORES, np.zeros(7, int), ThresholdRule.parse("F1"))
    assert threshold == 0.5
    assert "no validation sample" in note
    threshold, note = choose_threshold(SCORES, 1 - TARGETS, ThresholdRule.parse("precision=0.99"))
    assert "no threshold reaches precision=0.99" in note


@pytest.mark.parametrize("text", ["", "f2", "recall", "recall=", "recall=1.5", "0", "1", "nan", "=0.3", "f1=0.3", "-1"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected F1, recall=0\.95"):
        ThresholdRule.parse(text)


def test_a_rule_has_the_text_that_it_is_read_from() -> None:
    for text in ("F1", "recall=0.95", "precision=0.9", "0.3"):
        assert ThresholdRule.parse(text).text == text
    assert ThresholdRule.parse("f1").text == "F1"


def test_figures_follow_the_decision() -> None:
    scores = np.stack([1 - SCORES, SCORES], axis=1)
    found = compute_metrics(scores, TARGETS, ("no", "yes"), "binary", 0.25)
    assert found.confusion.tolist() == [[1, 2], [0, 4]]
    assert found.per_class["yes"]["recall"] == 1
    predictions = Predictions(scores, TARGETS, "binary", decision=0.25)
    assert predictions.prediction_scores[5] == SCORES[5]
    assert predictions.below_threshold(0.5) == {"threshold": 0.5, "samples": 2, "wrong": 1}
    several = Predictions(SCORES[:, None], TARGETS[:, None], "multilabel", decision=0.25)
    assert several.predicted[:, 0].tolist() == [1, 1, 1, 1, 1, 1, 0]
