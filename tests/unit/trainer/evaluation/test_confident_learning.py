"""Confident learning against an example that is worked out by hand, and on labels that were swapped."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.confident_learning import find_label_errors

pytestmark = pytest.mark.fast


def test_the_confident_joint_of_six_samples() -> None:
    scores = np.array(
        [[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.95, 0.05]],
        np.float32,
    )
    given = np.array([0, 0, 0, 1, 1, 1])
    found = find_label_errors(scores, given)
    # The thresholds are (0.9 + 0.7 + 0.1) / 3 = 0.57 and (0.8 + 0.6 + 0.05) / 3 = 0.48.
    assert found.joint.tolist() == [[2, 1], [1, 2]]
    assert found.places.tolist() == [5, 2], "the least margin comes first: -0.9, then -0.8"
    assert found.suggested.tolist() == [0, 1]
    assert found.margins.tolist() == pytest.approx([-0.9, -0.8])
    assert found.estimated == 2


def test_rows_of_the_joint_are_scaled_to_the_labels_given() -> None:
    scores = np.array([[0.9, 0.1], [0.5, 0.5], [0.45, 0.55], [0.1, 0.9], [0.3, 0.7]], np.float32)
    given = np.array([0, 0, 0, 1, 1])
    found = find_label_errors(scores, given)
    # Of the first label the thresholds 0.617 and 0.8 make one sample confident, and it is right.
    assert found.joint.tolist() == [[1, 0], [0, 1]]
    assert (found.estimated, found.places.tolist()) == (0, [])


def test_a_class_that_is_hard_to_tell_has_a_lower_threshold() -> None:
    sure, unsure = [0.9, 0.05, 0.05], [0.1, 0.46, 0.44]
    scores = np.array([sure] * 10 + [unsure] * 10 + [[0.1, 0.44, 0.46]] * 9 + [[0.47, 0.465, 0.065]], np.float32)
    given = np.array([0] * 10 + [1] * 10 + [2] * 10)
    found = find_label_errors(scores, given)
    assert found.joint[2].tolist() == [0, 1, 9], "0.465 is above 0.46 of the second class; 0.47 below 0.9 of the first"
    assert found.suggested[found.places == 29].tolist() == [1]


def test_swapped_labels_are_found_where_scores_are_good() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 4000)
    logits = rng.normal(0, 1, (4000, 10))
    logits[np.arange(4000), truth] += 5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given, swapped = truth.copy(), rng.choice(4000, 200, replace=False)
    given[swapped] = (given[swapped] + rng.integers(1, 10, 200)) % 10
    found = find_label_errors(scores.astype(np.float32), given)
    first = found.places[:200]
    assert len({*first.tolist()} & {*swapped.tolist()}) >= 0.9 * 200
    assert found.estimated == pytest.approx(200, rel=0.2)
    hits = np.isin(found.places, swapped)
    assert (found.suggested[hits] == truth[found.places[hits]]).mean() > 0.95
    assert (np.diff(found.margins) >= 0).all()


def test_a_class_without_samples_is_suggested_for_nothing() -> None:
    scores = np.array([[0.1, 0.2, 0.7], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]], np.float32)
    found = find_label_errors(scores, np.array([0, 1, 0]))
    assert 2 not in found.suggested
    assert found.joint[:, 2].tolist() == [0, 0, 0]
