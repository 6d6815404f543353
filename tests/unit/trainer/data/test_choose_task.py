"""The task of a data set, and the networks that follow from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime import ImageInput
from trainer.config import TrainingConfig
from trainer.data import Dataset, Geometry, load_dataset
from trainer.data.relabel import choose_task, merge_classes
from trainer.data.sources import ArraySource
from trainer.errors import DatasetError, TrainingError
from trainer.fitting.objective import keras_metrics, targets_and_loss
from trainer.models.factory import build_model


def dataset(labels: tuple[str, ...], targets: list[object], task: str = "multiclass") -> Dataset:
    images = np.zeros((len(targets), 8, 8), np.uint8)
    kind = np.uint8 if task == "multilabel" else np.int32
    array = np.array(targets, kind)
    return Dataset("toys", labels, ImageInput(8, 8, "grey"), images[..., None], array, ArraySource(images), task=task)


def test_one_class_against_the_rest() -> None:
    data = load_dataset("digits", Geometry())
    chosen = choose_task(data, None, "8")
    assert (chosen.task, chosen.labels) == ("binary", ("not 8", "8"))
    np.testing.assert_array_equal(chosen.targets, (data.targets == 8).astype(np.int32))
    assert chosen.targets.dtype == np.int32


@pytest.mark.parametrize(
    ("positive", "labels", "targets"), [("dog", ("cat", "dog"), [0, 1]), ("cat", ("dog", "cat"), [1, 0])]
)
def test_of_two_classes_the_other_keeps_its_name(positive: str, labels: tuple[str, ...], targets: list[int]) -> None:
    chosen = choose_task(dataset(("cat", "dog"), [0, 1]), "binary", positive)
    assert (chosen.labels, chosen.targets.tolist()) == (labels, targets)


def test_two_classes_are_binary_only_where_that_is_asked_for() -> None:
    pair = dataset(("cat", "dog"), [0, 1])
    assert choose_task(pair) is pair
    assert replace(pair, task="binary") == replace(choose_task(pair, "binary"), targets=pair.targets)


MANY = dataset(("a", "b", "c"), [[1, 1, 0], [0, 0, 0], [0, 0, 1]], "multilabel")


def test_a_label_of_several_against_its_absence() -> None:
    chosen = choose_task(MANY, "binary", "a")
    assert (chosen.labels, chosen.targets.tolist()) == (("not a", "a"), [1, 0, 0])


def test_one_label_each_may_be_told_to_be_classes() -> None:
    single = replace(MANY, targets=np.eye(3, dtype=np.uint8)[[2, 0, 1]])
    assert choose_task(single).task == "multilabel"
    chosen = choose_task(single, "multiclass")
    assert (chosen.task, chosen.targets.tolist(), chosen.targets.dtype) == ("multiclass", [2, 0, 1], np.int32)


@pytest.mark.parametrize(
    ("data", "task", "positive", "reason"),
    [
        (dataset(("a", "b", "c"), [0, 1, 2]), "binary", None, "`positive=NAME`"),
        (dataset(("a", "b", "c"), [0, 1, 2]), None, "d", "no such class; there are a, b, c"),
        (dataset(("a", "b"), [0, 1]), "multiclass", "a", "leave one out"),
        (dataset(("a", "b"), [0, 1]), "multilabel", None, "CSV"),
        (MANY, "multiclass", None, "2 of 3 images of toys have none or several labels"),
    ],
)
def test_a_task_that_the_targets_do_not_suit(
    data: Dataset, task: str | None, positive: str | None, reason: str
) -> None:
    with pytest.raises(DatasetError, match=reason):
        choose_task(data, task, positive)


def test_merged_labels_are_there_where_any_of_them_was() -> None:
    merged = merge_classes(MANY, ["a,c=x"])
    assert (merged.labels, merged.targets.tolist()) == (("x", "b"), [[1, 1], [0, 0], [1, 0]])


@pytest.mark.parametrize(
    ("task", "labels", "outputs", "activation"),
    [("multiclass", 3, 3, "softmax"), ("binary", 2, 1, "sigmoid"), ("multilabel", 3, 3, "sigmoid")],
)
@pytest.mark.parametrize("architecture", ["dense", "cnn"])
def test_the_output_layer_follows_the_task(
    architecture: str, task: str, labels: int, outputs: int, activation: str
) -> None:
    model = build_model(TrainingConfig(architecture, size="tiny"), (8, 8, 1), labels, task)
    assert model.output_shape == (None, outputs)
    assert model.layers[-1].activation.__name__ == activation


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("task", "targets", "scores"),
    [
        ("multiclass", [0, 2], [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]),
        ("binary", [0, 1], [[0.3], [0.8]]),
        ("multilabel", [[1, 1, 0], [0, 0, 0]], [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]),
    ],
)
def test_losses_are_cross_entropies(task: str, targets: list[object], scores: list[object], smoothing: float) -> None:
    truth, answers = np.array(targets), np.array(scores, np.float32)
    name = TrainingConfig(label_smoothing=smoothing).loss_for(task)
    given, loss = targets_and_loss(truth.astype(np.int32), 2 if task == "binary" else 3, task, name, smoothing)
    if task == "multiclass":
        wanted = np.eye(3)[truth] * (1 - smoothing) + smoothing / 3
        expected = -(wanted * np.log(answers)).sum(axis=1).mean()
    else:
        wanted = truth.reshape(answers.shape) * (1 - smoothing) + smoothing / 2
        expected = -(wanted * np.log(answers) + (1 - wanted) * np.log(1 - answers)).mean()
    assert float(loss(given, answers)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("task", "loss", "shape"),
    [
        ("multiclass", "auto", (2,)),
        ("multiclass", "sparse-categorical-crossentropy", (2,)),
        ("multiclass", "categorical-crossentropy", (2, 3)),
        ("multiclass", "focal", (2, 3)),
        ("binary", "auto", (2, 1)),
        ("binary", "focal", (2, 1)),
    ],
)
def test_the_loss_decides_between_integer_and_one_hot_targets(task: str, loss: str, shape: tuple[int, ...]) -> None:
    truth, name = np.array([0, 1], np.int32), TrainingConfig(loss=loss).loss_for(task)
    given, function = targets_and_loss(truth, 3, task, name, 0.0)
    assert given.shape == shape
    answers = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]] if task == "multiclass" else [[0.3], [0.8]], np.float32)
    right = answers[[0, 1], truth] if task == "multiclass" else np.array([0.7, 0.8])
    plain = -np.log(right)
    expected = 0.25 * (1 - right) ** 2 * plain if loss == "focal" and task == "multiclass" else plain
    expected = (1 - right) ** 2 * plain if loss == "focal" and task == "binary" else expected
    assert float(function(given, answers)) == pytest.approx(float(expected.mean()), abs=1e-5)


@pytest.mark.parametrize(
    ("task", "loss"), [("multiclass", "binary-crossentropy"), ("binary", "categorical-crossentropy")]
)
def test_a_loss_of_another_task_is_refused(task: str, loss: str) -> None:
    with pytest.raises(TrainingError, match=f"`loss={loss}` does not go with `task={task}`"):
        TrainingConfig(loss=loss).loss_for(task)


def test_keras_counts_what_the_best_epoch_is_chosen_by() -> None:
    accuracy, area = keras_metrics(2, "multilabel")
    targets, scores = np.array([[1, 0], [0, 1], [1, 1]]), np.array([[0.9, 0.2], [0.6, 0.7], [0.8, 0.4]], np.float32)
    for metric in (accuracy, area):
        metric.update_state(targets, scores)
    assert float(accuracy.result()) == pytest.approx(4 / 6)
    assert float(area.result()) == pytest.approx(1, abs=0.01)
    assert [metric.name for metric in keras_metrics(2, "binary")] == ["accuracy", "roc_auc"]


OWN = """
import keras
def build_model(input_shape, classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(classes, activation={activation!r})(keras.layers.Flatten()(inputs)))
"""


@pytest.mark.parametrize(
    ("task", "activation", "reason"),
    [
        ("multiclass", "softmax", None),
        ("multiclass", "sigmoid", "end it with a softmax"),
        ("binary", "sigmoid", None),
        ("binary", "softmax", "end it with one sigmoid"),
        ("binary", "linear", "no probabilities"),
        ("multilabel", "sigmoid", None),
        ("multilabel", "softmax", "sum to one; end it with sigmoids"),
        ("multilabel", "linear", "end it with sigmoids"),
    ],
)
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
def test_an_own_model_must_answer_as_the_task_does(
    task: str, activation: str, reason: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    file.write_text(OWN.format(activation=activation))
    spec = TrainingConfig("own", model_file=str(file))
    labels = 2 if task == "binary" else 3
    if reason is None:
        assert build_model(spec, (4, 4, 1), labels, task).output_shape == (None, 1 if task == "binary" else 3)
        return
    with pytest.raises(TrainingError, match=reason):
        build_model(spec, (4, 4, 1), labels, task)
