"""Figures of each task, against numbers worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trainer.evaluation.metrics import (
    averages,
    compute_metrics,
    confusion_of,
    cross_entropy,
    describe_chance,
    percent_of_true_class,
    recalls,
)

pytestmark = pytest.mark.fast


def test_multiclass_tells_how_often_the_truth_is_among_three() -> None:
    scores = np.array([[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]], np.float32)
    found = compute_metrics(scores, np.array([0, 3, 2], np.int32), ("a", "b", "c", "d"))
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.figures == {"top_3_accuracy": pytest.approx(2 / 3)}
    assert found.headline() == {"accuracy": found.accuracy}


def test_of_three_classes_the_truth_is_always_among_three() -> None:
    found = compute_metrics(np.eye(3, dtype=np.float32), np.array([0, 1, 1], np.int32), ("a", "b", "c"))
    assert found.figures == {}


@pytest.mark.parametrize("shape", ["one", "column", "both"])
def test_binary_figures(shape: str) -> None:
    # Of 2 x 3 pairs of a positive and a negative, 5 are in order.
    second = np.array([0.9, 0.4, 0.6, 0.2, 0.1], np.float32)
    targets = np.array([1, 1, 0, 0, 0], np.int32)
    scores = {"one": second, "column": second[:, None], "both": np.stack([1 - second, second], axis=1)}[shape]
    found = compute_metrics(scores, targets, ("no", "yes"), "binary")
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.figures["roc_auc"] == pytest.approx(5 / 6)
    assert found.figures["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found.confusion.tolist() == [[2, 1], [1, 1]]
    assert found.per_class["yes"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert found.headline() == {"accuracy": found.accuracy, "roc_auc": found.figures["roc_auc"]}


def test_binary_curves_run_from_nothing_to_everything_accepted() -> None:
    scores, targets = np.linspace(0, 1, 50, dtype=np.float32), np.tile([0, 1], 25)
    curves = compute_metrics(scores, targets, ("no", "yes"), "binary").as_dict()["curves"]
    assert json.loads(json.dumps(curves, allow_nan=False)) == curves
    for name, first, last in (
        ("roc", {"false_positive_rate": 0, "true_positive_rate": 0}, {"false_positive_rate": 1}),
        ("precision_recall", {"recall": 0, "precision": 1}, {"recall": 1, "precision": 0.5}),
    ):
        curve = curves[name]
        assert len({len(values) for values in curve.values()}) == 1
        assert {axis: curve[axis][0] for axis in first} == first
        assert {axis: curve[axis][-1] for axis in last} == pytest.approx(last, abs=0.02)
        assert curve["threshold"][0] is None
        assert curve["threshold"][1:] == sorted(curve["threshold"][1:], reverse=True)


def test_binary_of_one_class_alone_has_no_curve() -> None:
    found = compute_metrics(np.array([0.9, 0.2], np.float32), np.array([1, 1]), ("no", "yes"), "binary")
    assert (found.figures, found.curves) == ({}, {})
    assert found.headline() == {"accuracy": 0.5}
    json.dumps(found.as_dict(), allow_nan=False)


def test_half_is_the_first_label_as_on_the_device() -> None:
    from runtime.postprocessing import rank

    found = compute_metrics(np.array([0.5], np.float32), np.array([0]), ("no", "yes"), "binary")
    assert found.accuracy == 1
    assert rank(np.array([0.5, 0.5], np.float32), ("no", "yes"), top=1)[0].label == "no"


def test_multilabel_figures() -> None:
    scores = np.array([[0.9, 0.6, 0.1], [0.8, 0.4, 0.1], [0.2, 0.5, 0.1], [0.3, 0.1, 0.1]], np.float32)
    targets = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], np.uint8)
    found = compute_metrics(scores, targets, ("a", "b", "rare"), "multilabel")
    assert found.accuracy == pytest.approx(2 / 4)
    # a: positives at ranks 1, 2, 4; b: at 1, 3.
    assert found.per_class["a"]["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert found.per_class["b"]["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found.per_class["rare"]["average_precision"] == 0
    assert found.per_class["rare"]["support"] == 0
    assert found.figures["mean_average_precision"] == pytest.approx((11 / 12 + 5 / 6) / 2)
    assert found.figures["micro_f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert found.figures["macro_f1"] == pytest.approx((0.8 + 0.5 + 0) / 3)
    assert found.confusion.tolist() == [[[1, 0], [1, 2]], [[1, 1], [1, 1]], [[4, 0], [0, 0]]]
    json.dumps(found.as_dict(), allow_nan=False)


def test_confusion_and_recall() -> None:
    targets = np.array([0, 0, 0, 1, 1, 3])
    predicted = np.array([0, 1, 0, 1, 1, 2])
    confusion = confusion_of(predicted, targets, 4)
    assert confusion.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert recalls(confusion) == [pytest.approx(2 / 3), 1.0, None, 0.0]
    assert percent_of_true_class(confusion)[0].tolist() == pytest.approx([200 / 3, 100 / 3, 0, 0])
    assert percent_of_true_class(confusion)[2].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("predicted", "balanced", "told"),
    [
        ([0] * 12, False, "accuracy on the validation split is 0.6667, and always answering 'a', the largest class, "),
        ([0] * 8 + [1] * 4, False, ""),
        ([0] * 11 + [1], False, "is 0.7500, and"),  # one image more is chance
        ([0] * 12, True, "balanced accuracy on the validation split is 0.5000, and guessing would give 0.5000"),
        ([0] * 5 + [1] * 7, True, ""),
    ],
)
def test_what_is_no_better_than_chance_is_told(predicted: list[int], balanced: bool, told: str) -> None:
    targets = np.array([0] * 8 + [1] * 4)
    metrics = compute_metrics(np.eye(2, dtype=np.float32)[predicted], targets, ("a", "b"))
    found = describe_chance(metrics, ("a", "b"), balanced=balanced)
    assert told in found
    assert bool(found) == bool(told)


@pytest.mark.parametrize("learnt", [False, True])
def test_scores_of_labels_that_say_nothing_are_told(learnt: bool) -> None:
    targets = np.random.default_rng(0).integers(0, 2, (60, 3), np.uint8)
    scores = targets.astype(np.float32) if learnt else np.full(targets.shape, 0.5, np.float32)
    found = describe_chance(
        compute_metrics(scores, targets, ("a", "b", "c"), "multilabel"), ("a", "b", "c"), balanced=False
    )
    assert ("scores that say nothing would give" in found) == (not learnt)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_averages_are_those_of_scikit_learn(task: str) -> None:
    from sklearn.metrics import classification_report

    rng = np.random.default_rng(0)
    scores = rng.random((60, 4)).astype(np.float32)
    scores[:, 3] = 0  # a class without samples that is never predicted
    targets = (
        rng.integers(0, 3, 60)
        if task == "multiclass"
        else np.column_stack([rng.integers(0, 2, (60, 3)), np.zeros(60, int)])
    )
    found = compute_metrics(scores, targets, ("a", "b", "c", "d"), task)
    predicted = scores.argmax(axis=1) if task == "multiclass" else (scores >= 0.5).astype(int)
    expected = classification_report(targets, predicted, output_dict=True, zero_division=0)
    for name, row in averages(found).items():
        for key, other in (
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "f1-score"),
            ("support", "support"),
        ):
            assert row[key] == pytest.approx(expected[f"{name} avg"][other])


def test_the_loss_is_the_cross_entropy_of_scikit_learn() -> None:
    from sklearn.metrics import log_loss

    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], np.float32)
    targets = np.array([0, 1, 1])
    assert cross_entropy(scores, targets) == pytest.approx(log_loss(targets, scores, labels=[0, 1, 2]))
    several = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    expected = np.mean([log_loss(several[:, i], scores[:, i], labels=[0, 1]) for i in range(3)])
    assert cross_entropy(scores, several, "multilabel") == pytest.approx(expected)
    assert np.isfinite(cross_entropy(np.eye(3, dtype=np.float32), np.array([1, 2, 0])))
