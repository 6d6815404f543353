"""The order of the pictures: margin first, then distance; near copies together; skipped ones last."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.review.ranking import Ranking

pytestmark = pytest.mark.fast


def test_the_least_sure_come_first_and_then_the_farthest() -> None:
    ranking = Ranking(5)
    assert ranking.first(9) == [0, 1, 2, 3, 4], "without anything known the names decide"
    for place, margin in enumerate((0.9, 0.02, 0.05, 0.04, 0.5)):
        ranking.set_scores(place, {"cat": (1 + margin) / 2, "dog": (1 - margin) / 2})
    assert ranking.first(9) == [1, 2, 3, 4, 0]
    values = np.array([[0, 0], [1, 0], [5, 0], [5.1, 0], [9, 9]], np.float32)
    ranking.set_values(values, np.array([[0, 0]], np.float32))
    assert ranking.first(9) == [3, 2, 1, 4, 0]
    ranking.decide([3])
    assert ranking.first(9) == [1, 2, 4, 0], "2 is close to what has a label now"
    ranking.reopen([3])
    assert 3 in ranking.first(9)


def test_labels_that_came_before_the_values_count_too() -> None:
    ranking = Ranking(3)
    ranking.decide([2])
    ranking.set_values(np.array([[0.0], [8.0], [9.0]], np.float32), np.empty((0, 0), np.float32))
    assert ranking.first(9) == [0, 1]


def test_skipped_ones_come_last_in_their_order() -> None:
    ranking = Ranking(4)
    ranking.skip([2])
    ranking.skip([0])
    assert ranking.first(9) == [1, 3, 2, 0]
    assert ranking.counts() == {"waiting": 2, "skipped": 2, "decided": 0, "unreadable": 0}


def test_of_near_copies_one_is_shown_until_they_are_separated() -> None:
    ranking = Ranking(5)
    ranking.set_copies([[3, 1, 4]])
    ranking.set_scores(0, {"cat": 1.0})
    assert ranking.first(9) == [1, 2, 0]
    assert ranking.copies_of(1) == [3, 4]
    ranking.separate(1)
    assert ranking.first(9) == [1, 2, 3, 4, 0]
    assert ranking.copies_of(1) == []
    ranking.leave_out(1)
    ranking.decide([2], is_labelled=False)
    assert ranking.first(9) == [3, 4, 0]
