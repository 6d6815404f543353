"""A new model beside an old one: the verdict, the classes, the samples that changed, and labels that differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from runtime import Contract, ImageInput, Provenance
from trainer.data import Dataset
from trainer.data.sources import ArraySource
from trainer.errors import DatasetError, RunError
from trainer.evaluation.intervals import mcnemar_p_value, paired_interval
from trainer.evaluation.model_comparison import BETTER, SAME, WORSE, compare_models
from trainer.evaluation.paired_set import KnownModel, pair_samples
from trainer.evaluation.predictions import Predictions

pytestmark = pytest.mark.fast

LABELS = ("cat", "dog", "fox")
SPEC = ImageInput(4, 4, "grey")


def answers(predicted: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> Predictions:
    """Predictions whose score falls from sample to sample."""
    scores = np.zeros((len(truth), len(LABELS)), np.float32)
    scores[np.arange(len(truth)), predicted] = np.linspace(1, 0.5, len(truth))
    return Predictions(scores, truth)


def wrong(truth: npt.NDArray[np.int64], places: list[int]) -> npt.NDArray[np.int64]:
    predicted = truth.copy()
    predicted[places] = (predicted[places] + 1) % len(LABELS)
    return predicted


TRUTH = np.arange(90) % 3


def test_the_verdict_is_that_of_the_exact_test_and_has_a_direction() -> None:
    perfect = answers(TRUTH, TRUTH)
    for count, verdict in ((5, SAME), (6, BETTER)):  # p = 0.0625 and 0.03125
        old = answers(wrong(TRUTH, [*range(count)]), TRUTH)
        found = compare_models(old, perfect, LABELS)
        assert found.p_value == mcnemar_p_value(0, count)
        assert found.verdict == verdict
        assert found.change == pytest.approx(count / 90)
        low, high = paired_interval(0, count, 90)
        assert found.interval == pytest.approx((-high, -low))
        assert (found.old, found.metric.value) == pytest.approx((1 - count / 90, 1))
        back = compare_models(perfect, old, LABELS)
        assert back.verdict == (WORSE if verdict == BETTER else SAME)
        assert (len(back.lost), len(back.won), back.both_right, back.both_wrong) == (count, 0, 90 - count, 0)
    assert "is worse: accuracy 1.0000 -> 0.9333, -6.67 points (95 % interval " in back.sentence()
    assert "McNemar's p = 0.031" in back.sentence()


def test_samples_that_changed_are_listed_the_surest_mistake_first() -> None:
    assert TRUTH[50] == 2, "sample 50 is a fox: a cat for the old model, a dog for the new one"
    before, after = wrong(TRUTH, [3, 50, 70]), wrong(TRUTH, [8, 50, 61])
    after[50] = 1
    found = compare_models(answers(before, TRUTH), answers(after, TRUTH), LABELS)
    assert (found.both_wrong, found.other_mistakes) == (1, 1)
    assert found.lost.tolist() == [8, 61]
    assert found.won.tolist() == [3, 70]
    counts = found.as_dict()["counts"]
    assert counts["lost"] == counts["won"] == 2
    assert found.verdict == SAME


def test_a_class_that_loses_is_shown_with_an_interval_for_all_classes() -> None:
    truth = np.arange(300) % 3
    dogs = np.flatnonzero(truth == 1)
    cats = np.flatnonzero(truth == 0)
    old = answers(wrong(truth, cats[:40].tolist()), truth)
    new = answers(wrong(truth, dogs[:20].tolist()), truth)
    found = compare_models(old, new, LABELS)
    assert [each.label for each in found.classes] == ["dog", "fox", "cat"], "the largest loss first"
    assert [each.verdict for each in found.classes] == [WORSE, SAME, BETTER]
    dog = found.classes[0]
    assert (dog.samples, dog.lost, dog.won, dog.old, dog.new) == (100, 20, 0, 1.0, 0.8)
    before, after = (answers(each.predicted[dogs], truth[dogs]) for each in (old, new))
    alone = compare_models(before, after, LABELS)
    assert alone.classes[0].interval[1] < dog.interval[1], "with more classes the interval is wider"
    assert found.verdict == BETTER


def test_several_labels_are_compared_by_their_average_precision() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 3)) < 0.4).astype(np.int64)
    good = np.clip(truth * 0.6 + rng.random((200, 3)) * 0.4, 0, 1).astype(np.float32)
    bad = good.copy()
    bad[:, 1] = rng.random(200)
    old, new = (Predictions(scores, truth, "multilabel") for scores in (good, bad))
    found = compare_models(old, new, LABELS)
    assert found.metric.name == "mean_average_precision"
    assert found.verdict == WORSE
    assert found.classes[0].label == "dog"
    assert "McNemar" not in found.sentence()
    assert compare_models(old, old, LABELS).verdict == SAME


def data_set(labels: tuple[str, ...], count: int = 60, task: str = "multiclass") -> Dataset:
    images = np.zeros((count, 4, 4), np.uint8)
    targets = (np.arange(count) % len(labels)).astype(np.int32)
    return Dataset("pets", labels, SPEC, images[..., np.newaxis], targets, ArraySource(images), task=task)


def model(*labels: str, name: str = "old", task: str = "multiclass") -> KnownModel:
    return KnownModel(name, Contract(labels, SPEC, task, provenance=Provenance("pets", 3, "2020-01-01")))


def test_models_with_other_labels_are_compared_on_the_common_ones() -> None:
    old, new = model("dog", "cat"), model("cat", "dog", "fox", name="new")
    paired = pair_samples(data_set(LABELS), old, new, "all", 0)
    assert paired.samples.labels == LABELS
    assert paired.compared == ("cat", "dog")
    assert (len(paired.samples.chosen), paired.left_out) == (40, 20)
    assert {*paired.samples.chosen_targets.tolist()} == {0, 1}
    count = len(paired.samples.chosen)
    before = paired.predictions(old, np.tile(np.array([0.9, 0.1], np.float32), (count, 1)))  # always dog
    after = paired.predictions(new, np.tile(np.array([0.1, 0.2, 0.7], np.float32), (count, 1)))  # always fox: wrong
    found = compare_models(before, after, paired.samples.labels)
    assert (found.old, found.metric.value) == (0.5, 0.0)
    assert {each.label: each.old for each in found.classes} == {"dog": 1.0, "cat": 0.0}
    assert "may have seen some of these" in paired.samples.caution
    assert paired.samples.caution.count("; ") == 1, "both models are named"


@pytest.mark.parametrize(
    ("labels", "old", "new", "task", "words"),
    [
        (("cat", "cow"), ("cat", "dog"), ("cat", "fox"), "multiclass", "neither model has its label 'cow'"),
        (("cat", "fox"), ("cat", "dog"), ("cat", "fox"), "multiclass", "labels in common: 1, expected two or more"),
        (("cat", "dog"), ("cat", "dog"), ("dog", "cat"), "binary", "with the same labels"),
        (("cat", "dog"), ("cat", "dog"), ("cat", "dog", "fox"), "multilabel", "with the same labels"),
    ],
)
def test_models_that_answer_other_questions_are_refused(
    labels: tuple[str, ...], old: tuple[str, ...], new: tuple[str, ...], task: str, words: str
) -> None:
    with pytest.raises((DatasetError, RunError), match=words):
        pair_samples(data_set(labels), model(*old, task=task), model(*new, name="new", task=task), "all", 0)


def test_models_of_two_tasks_are_refused() -> None:
    with pytest.raises(RunError, match="old: its task is binary, and that of new is multiclass"):
        pair_samples(data_set(LABELS), model("cat", "dog", task="binary"), model(*LABELS, name="new"), "all", 0)
