"""Doubts about a model's answers, from counts of true and predicted classes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exporter.plausibility import (
    agreement_doubts,
    is_weak,
    recall_warnings,
    reference_doubts,
    share_warnings,
    swapped_labels,
)

LABELS = ("a", "b", "c", "d")


def model(confusion: list[list[int]], agreement: float = 1.0, drop: float = 0.0, *, is_reference: bool = True) -> Any:
    counts = np.array(confusion)
    accuracy = float(np.trace(counts) / counts.sum())
    return SimpleNamespace(
        comparison=SimpleNamespace(confusion=counts, accuracy=accuracy, agreement=agreement, drop=drop),
        predictions=SimpleNamespace(task="multiclass"),
        name="int8",
        is_reference=is_reference,
        failed=(),
    )


def names(confusion: list[list[int]]) -> list[str]:
    return [gate.name for gate in reference_doubts(model(confusion), LABELS)]


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        ([[9, 1, 0, 0], [0, 10, 0, 0], [0, 0, 8, 2], [0, 1, 0, 9]], []),
        ([[10, 0, 0, 0], [10, 0, 0, 0], [10, 0, 0, 0], [10, 0, 0, 0]], ["chance", "unanswered"]),
        ([[250, 0, 0, 0], [6, 0, 0, 0], [0] * 4, [0] * 4], ["chance", "unanswered"]),
        ([[10, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4], ["chance"]),
        ([[10, 0, 0, 0], [0, 10, 0, 0], [0, 0, 10, 0], [0, 0, 10, 0]], ["unanswered"]),
        ([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]], []),  # chance leaves one of so few out
        ([[0, 10, 0, 0], [9, 1, 0, 0], [0, 0, 10, 0], [0, 0, 0, 10]], ["labels"]),
    ],
)
def test_what_is_doubted(confusion: list[list[int]], expected: list[str]) -> None:
    assert names(confusion) == expected


def test_the_words_name_the_classes() -> None:
    chance, unanswered = reference_doubts(model([[250, 0], [6, 0]]), LABELS[:2])
    assert chance.reason.endswith("always answering 'a', the largest class, would give 0.9766")
    assert unanswered.reason == "never answers 'b', of which there are test images"
    assert unanswered.describe().endswith("; `accept_low_accuracy` publishes it all the same")
    (alone,) = reference_doubts(model([[5, 0], [0, 0]]), LABELS[:2])
    assert alone.reason.startswith("all test images are of class 'a'")


def test_a_model_of_readings_hears_of_vectors() -> None:
    rare, missing = model([[250, 0, 0], [6, 0, 0], [0] * 3]), LABELS[:3]
    lines = [gate.reason for gate in reference_doubts(rare, missing, noun="vectors")]
    lines += [*share_warnings(rare, missing, "vectors"), *recall_warnings(rare, missing, "vectors")]
    assert len(lines) == 5
    assert not [line for line in lines if "image" in line]
    assert sum("vectors" in line for line in lines) >= 4


def test_labels_in_another_order_are_named() -> None:
    counts = np.array([[0, 20, 0, 0], [19, 1, 0, 0], [0, 0, 20, 0], [0, 0, 0, 20]])
    assert swapped_labels(counts) == ([(0, 1)], pytest.approx(79 / 80))
    (gate,) = reference_doubts(model(counts.tolist()), LABELS)
    assert "exchanging 'a' with 'b' would raise its accuracy from 0.5125 to 0.9875" in gate.reason


def test_a_longer_cycle_is_found_as_pairs() -> None:
    """As where names are sorted as text and the outputs as numbers."""
    shifted = np.roll(20 * np.eye(4, dtype=int), 1, axis=1)
    pairs, accuracy = swapped_labels(shifted)
    assert len(pairs) == 3
    assert accuracy == 1.0


def test_classes_that_are_hard_to_tell_apart_are_not_swapped() -> None:
    assert swapped_labels(np.array([[8, 12], [11, 9]]))[0] == []


def test_little_agreement_is_doubted_only_of_other_models() -> None:
    counts = [[10, 0], [0, 10]]
    assert [gate.name for gate in agreement_doubts(model(counts, 0.2, is_reference=False))] == ["low-agreement"]
    assert not [*agreement_doubts(model(counts, 0.2))]
    assert not [*agreement_doubts(model(counts, 0.9, is_reference=False))]
    assert not [*agreement_doubts(model(counts, 0.2, 0.8, is_reference=False))]


def test_a_weak_model_is_halfway_to_the_largest_class() -> None:
    assert is_weak(model([[5, 5], [4, 6]]))
    assert not is_weak(model([[9, 1], [1, 9]]))


def test_missing_and_large_classes_are_warned_of() -> None:
    assert [*share_warnings(model([[5, 0], [0, 5]]), LABELS[:2])] == []
    (missing,) = share_warnings(model([[5, 0, 0], [0, 5, 0], [0, 0, 0]]), LABELS[:3])
    assert missing.startswith("the test images show 2 of 3 classes; none shows c: the figures say nothing of these")
    (large,) = share_warnings(model([[90, 0], [1, 9]]), LABELS[:2])
    assert large.startswith("0.9000 of the test images are of class 'a'")


@pytest.mark.parametrize(
    ("confusion", "told"),
    [
        ([[250, 0], [6, 0]], "'b' (0 of 6)"),
        ([[245, 5], [5, 1]], "'b' (1 of 6)"),
        ([[250, 0], [1, 5]], ""),
        ([[250, 0], [1, 0]], ""),  # one image says nothing
        ([[6, 4], [4, 6]], ""),
        ([[40, 0, 0], [0, 40, 0], [30, 0, 10]], "'c' (10 of 40)"),
    ],
)
def test_classes_that_the_accuracy_hides_are_named(confusion: list[list[int]], told: str) -> None:
    found = [*recall_warnings(model(confusion), LABELS[: len(confusion)])]
    assert len(found) == bool(told)
    assert not told or f"int8 answers most test images of {told} wrongly" in found[0]
