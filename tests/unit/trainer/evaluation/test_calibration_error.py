"""Reliability and rejection, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.calibration_error import Rejection, rejection, reliability

pytestmark = pytest.mark.fast


def test_calibration_error_by_hand() -> None:
    # Two bins of ten are filled: 0.85 with one right of two, 0.65 with both right. The error is
    # (2 * |0.85 - 0.5| + 2 * |0.65 - 1|) / 4 = 0.35.
    scores = np.array([[0.85, 0.15], [0.15, 0.85], [0.65, 0.35], [0.35, 0.65]], np.float32)
    found = reliability(scores, np.array([0, 0, 0, 1]), bins=10)
    assert found.error == pytest.approx(0.35, abs=1e-6)
    assert found.counts == (0, 0, 0, 0, 0, 0, 2, 0, 2, 0)
    assert found.confidence[8] == pytest.approx(0.85)
    assert found.accuracy[6] == 1.0


def test_scores_at_the_edges_are_in_a_bin() -> None:
    found = reliability(np.array([[1.0, 0.0], [0.5, 0.5]], np.float32), np.array([0, 0]), bins=2)
    assert found.counts == (1, 1)
    assert reliability(np.zeros((1, 2), np.float32), np.array([1])).counts[0] == 1


def test_what_a_threshold_does_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.45, 0.55]], np.float32)
    found = rejection(scores, np.array([0, 1, 1, 0]), 0.58)
    assert (found.answered, found.false_accept_rate) == (0.75, 0.5)
    assert found.accuracy == pytest.approx(2 / 3)
    several = np.array([[0.9, 0.2], [0.1, 0.3]], np.float32)
    assert rejection(several, np.array([[1, 0], [0, 1]]), 0.25) == Rejection(1.0, 0.0, 1.0)
    assert rejection(several, np.array([[0, 0], [1, 1]]), 0.5) == Rejection(0.5, 0.5, 0.0)


def test_a_score_that_equals_the_threshold_reaches_it() -> None:
    scores = np.array([[0.5, 0.5], [0.75, 0.25]], np.float32)
    assert rejection(scores, np.array([0, 0]), 0.5) == Rejection(1.0, None, 1.0)
    assert rejection(scores, np.array([0, 0]), 0.75) == Rejection(0.5, None, 1.0)
