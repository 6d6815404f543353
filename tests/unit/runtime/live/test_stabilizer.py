"""The state made of frame after frame, held against a plain reference."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from runtime import Classifier, Contract, ImageInput
from runtime.contract import Confidence
from runtime.live.stabilizer import Stabilizer
from runtime.testing import FakeInterpreter

pytest.importorskip("hypothesis")  # not on a device
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.fast

tries = settings(max_examples=100, derandomize=True, deadline=None)

LABELS = ("cat", "dog", "bird")
Row = tuple[float, float, float]
#: Multiples of 1/16, which single precision holds, also when they are halved a few times.
score = st.integers(0, 16).map(lambda sixteenths: sixteenths / 16)
rows = st.lists(st.tuples(score, score, score), max_size=40)
stable = st.sampled_from([(1, 1), (2, 2), (2, 3), (3, 5), (5, 5), (4, 7)])


def plain(
    frames: Sequence[Row], needed: int, last: int, enter: float, leave: float | None, weight: float
) -> list[tuple[int, str, float, int, str | None]]:
    """Each change: number of the frame, label, since, frames, previous. No incremental step, nothing clever."""
    state: str | None = None
    votes: list[str] = []
    changes = []
    for number in range(len(frames)):
        averages = []
        for column in range(3):
            average = frames[0][column]
            for row in frames[1 : number + 1]:
                average = weight * row[column] + (1 - weight) * average
            averages.append(average)
        best = averages.index(max(averages))
        if averages[best] >= enter:
            vote = LABELS[best]
        elif state in LABELS and leave is not None and averages[LABELS.index(state)] >= leave:
            vote = state
        else:
            vote = "unknown"
        votes.append(vote)
        window = range(max(0, number + 1 - last), number + 1)
        same = [place for place in window if votes[place] == vote]
        if vote != state and len(same) >= needed:
            changes.append((number, vote, float(same[0]), len(same), state))
            state = vote
    return changes


@tries
@given(rows, stable, score, st.none() | score, st.sampled_from([1.0, 0.5]))
def test_it_equals_the_plain_reference(
    frames: list[Row], stable: tuple[int, int], enter: float, leave: float | None, weight: float
) -> None:
    frames = frames[:12] if weight != 1 else frames  # halved more often, single precision rounds
    leave = None if leave is None else min(leave, enter)
    stabilizer = Stabilizer(LABELS, stable=stable, min_score=enter, release_score=leave, newest_weight=weight)
    found = []
    for number, row in enumerate(frames):
        change = stabilizer.update(row, float(number))
        if change is not None:
            assert stabilizer.state == change.label
            found.append((number, change.label, change.since, change.frames, change.previous))
    assert found == plain(frames, *stable, enter, leave, weight)


@tries
@given(rows)
def test_a_change_is_a_change_and_names_the_one_before(frames: list[Row]) -> None:
    stabilizer = Stabilizer(LABELS, stable=(2, 3), min_score=0.5)
    changes = [change for change in map(stabilizer.update, frames) if change is not None]
    labels = [None, *(change.label for change in changes)]
    assert all(before != after for before, after in itertools.pairwise(labels))
    assert [change.previous for change in changes] == labels[:-1]


@tries
@given(rows)
def test_without_states_it_answers_as_classify_does(frames: list[Row]) -> None:
    if not frames:
        return
    contract = Contract(LABELS, ImageInput(8, 8), confidence=Confidence(threshold=0.5))
    fake = FakeInterpreter(LABELS, frames)
    classifier = Classifier.from_interpreter(contract, lambda: fake)
    stabilizer = Stabilizer.for_model(contract, stable=(1, 1))
    for row in frames:
        stabilizer.update(row)
        best = classifier.classify(np.zeros((8, 8, 3), np.uint8), top=1)[0]
        assert (stabilizer.state, stabilizer.score) == (best.label, best.score)


def test_hysteresis_keeps_the_state_between_both_scores() -> None:
    stabilizer = Stabilizer(LABELS, stable=(1, 1), min_score=0.8, release_score=0.4)
    rows = [(0.9, 0.1, 0), (0.5, 0.5, 0), (0.4, 0.6, 0), (0.3, 0.7, 0), (0.1, 0.9, 0)]
    states = [stabilizer.update(row) and stabilizer.state for row in rows]
    assert states == ["cat", None, None, "unknown", "dog"]


def test_only_allowed_labels_become_the_state() -> None:
    stabilizer = Stabilizer(LABELS, stable=(1, 1), deny=("cat",))
    change = stabilizer.update((0.9, 0.06, 0.04))
    assert change is not None
    assert change.label == "dog"


def test_the_second_of_two_labels_by_the_model_s_decision() -> None:
    stabilizer = Stabilizer(("ok", "broken"), stable=(1, 1), decision=0.25)
    change = stabilizer.update((0.7, 0.3))
    assert change is not None
    assert (change.label, round(change.score, 3)) == ("broken", 0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stable": (2, 5)}, "more than half"),
        ({"stable": (6, 5)}, "more than half"),
        ({"min_score": 0.5, "release_score": 0.6}, "at most `min_score`"),
        ({"newest_weight": 0.0}, "above 0"),
        ({"allow": ["fish"]}, "no label 'fish'"),
    ],
)
def test_values_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stabilizer(LABELS, **options)  # type: ignore[arg-type]


def test_a_row_of_another_length() -> None:
    with pytest.raises(ValueError, match="3 labels"):
        Stabilizer(LABELS).update((0.5, 0.5))
