"""Ranking: the rules at their boundaries, and against a plain reference on random scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from runtime import Prediction, rank
from runtime.postprocessing import UNKNOWN, choose_labels

pytestmark = pytest.mark.fast

LABELS = ("a", "b", "c", "d")
SCORES = np.array([0.25, 0.5, 0.25, 0.0], np.float32)


def labels_of(predictions: Sequence[Prediction]) -> list[str]:
    return [prediction.label for prediction in predictions]


def test_equal_scores_come_in_the_order_of_the_outputs() -> None:
    assert labels_of(rank(SCORES, LABELS, 4)) == ["b", "a", "c", "d"]
    assert labels_of(rank(SCORES, LABELS, 2)) == ["b", "a"]
    assert labels_of(rank(SCORES[[0, 2]], LABELS, 1)) == ["a"]
    many = np.full(200, 0.005, np.float32)  # more than are sorted in Python
    assert [prediction.index for prediction in rank(many, [str(i) for i in range(200)], 5)] == [0, 1, 2, 3, 4]


def test_a_score_that_equals_the_limit_reaches_it() -> None:
    assert labels_of(rank(SCORES, LABELS, 4, min_score=0.25)) == ["b", "a", "c"]
    assert labels_of(rank(SCORES, LABELS, 4, min_score=0.5)) == ["b"]
    assert labels_of(rank(SCORES, LABELS, 4, threshold=0.5)) == ["b", "a", "c", "d"]
    above = float(np.nextafter(np.float32(0.5), np.float32(1)))
    assert rank(SCORES, LABELS, 4, min_score=above) == [Prediction(UNKNOWN, 0.5, -1)]
    assert rank(SCORES, LABELS, 4, threshold=above) == [Prediction(UNKNOWN, 0.5, -1)]
    just_above = float(np.nextafter(np.float32(0.25), np.float32(1)))
    assert labels_of(rank(SCORES, LABELS, 4, min_score=just_above)) == ["b"]


def test_only_chosen_labels_are_predicted() -> None:
    chosen = choose_labels(LABELS, ["c", "d", "a"], ["d"])
    assert chosen is not None
    assert chosen.tolist() == [0, 2]
    assert labels_of(rank(SCORES, LABELS, 3, chosen=chosen)) == ["a", "c"]
    assert rank(SCORES, LABELS, 1, chosen=chosen) == [Prediction("a", 0.25, 0)]
    assert choose_labels(LABELS, None, ()) is None


def test_an_empty_allow_list_leaves_nothing() -> None:
    with pytest.raises(ValueError, match="leave no label"):
        choose_labels(LABELS, [], ())
    with pytest.raises(ValueError, match="leave no label"):
        choose_labels(LABELS, None, LABELS)


@pytest.mark.parametrize(("count", "end"), [(20, "19"), (21, "19, ...")])
def test_an_unknown_label_is_refused_with_the_first_twenty(count: int, end: str) -> None:
    with pytest.raises(ValueError, match=r"no label 'x'") as caught:
        choose_labels(tuple(map(str, range(count))), ["x"], ())
    assert str(caught.value).endswith(f", {end}")
