"""Logits of a model that others made are never answered as probabilities."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier, Confidence, Contract, ContractError, ImageInput, ModelFileError, PocketlensError, seal
from runtime.postprocessing import sigmoid, softmax
from runtime.testing import FakeInterpreter
from runtime.tflite.graph import Ending
from runtime.tflite.model import check_structure
from tests.support.commands import run_pocketlens, succeed
from tests.support.external_models import LABELS, converted

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
SCALING: dict[str, Any] = {"mean": 127.5, "std": 127.5}
TWO = ("no", "yes")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))


def test_a_class_called_unknown_is_remarked_upon() -> None:
    (note,) = Classifier(converted("float32"), labels=("cat", "Unknown", "owl"), **SCALING).notes
    assert note.startswith("a class is called 'Unknown', and a device answers 'unknown' as well")


def logits(kind: str = "float32", outputs: int = 3) -> bytes:
    return converted(kind, outputs=outputs, activation=None)


def written_out(last: str) -> bytes:
    """A classifier that ends with operators of its own choice."""
    import tensorflow as tf

    def ending(values: Any) -> Any:
        if last == "softmax":
            powers = tf.exp(values)
            return powers / tf.reduce_sum(powers, -1, keepdims=True)
        if last == "slice":
            return tf.nn.softmax(values)[:, 1:]
        return {"log": tf.nn.log_softmax, "tanh": tf.tanh, "relu": tf.nn.relu}[last](values)

    weights = tf.constant(np.random.default_rng(1).normal(size=(192, 4 if last == "slice" else 3)), tf.float32)

    def model(pixels: Any) -> Any:
        return ending(tf.matmul(tf.reshape(pixels, (1, -1)), weights) / 100 + [0.1] * weights.shape[1])

    traced = tf.function(model, input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()])
    return bytes(converter.convert())


@pytest.mark.parametrize("kind", ["float32", "uint8", "int8"])
def test_one_logit_gets_the_sigmoid_that_it_lacks(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    scaling = SCALING if kind == "float32" else {}
    with caplog.at_level(logging.WARNING):
        classifier = Classifier(logits(kind, 1), labels=TWO, **scaling)
    (note,) = classifier.notes
    assert note.startswith("it ends with FULLY_CONNECTED, so its outputs are logits: sigmoid makes probabilities")
    assert [record.getMessage() for record in caplog.records] == [f"model (bytes): {note}"]
    logit = float(classifier.output.dequantize(classifier.run(PICTURE)).reshape(-1)[0])
    second = 1 / (1 + np.exp(-logit))
    np.testing.assert_allclose(classifier.scores(PICTURE), [1 - second, second], rtol=1e-5)
    assert pickle.loads(pickle.dumps(classifier)).classify(PICTURE) == classifier.classify(PICTURE)


@pytest.mark.parametrize("kind", ["float32", "uint8", "int8"])
def test_several_logits_get_the_softmax_that_they_lack(kind: str) -> None:
    scaling = SCALING if kind == "float32" else {}
    classifier = Classifier(logits(kind), labels=LABELS, **scaling)
    assert classifier.contract.scores == "softmax"
    values = classifier.output.dequantize(classifier.run(PICTURE)).reshape(-1).astype(np.float64)
    wanted = np.exp(values) / np.exp(values).sum()
    np.testing.assert_allclose(classifier.scores(PICTURE), wanted, rtol=1e-5)
    assert Classifier(logits(kind), labels=LABELS, scores="softmax", **scaling).notes == ()
    several = Classifier(logits(kind), labels=LABELS, task="multilabel", **scaling)
    np.testing.assert_allclose(several.scores(PICTURE), 1 / (1 + np.exp(-values)), rtol=1e-5)


def test_scores_as_they_are_never_give_unknown() -> None:
    classifier = Classifier(logits(), labels=LABELS, scores="as-is", **SCALING)
    np.testing.assert_array_equal(classifier.scores(PICTURE), classifier.run(PICTURE).reshape(-1))
    with pytest.raises(ValueError, match="`min_score` is a probability"):
        classifier.classify(PICTURE, min_score=0.5)
    negative = Contract(LABELS, ImageInput(8, 8), scores="as-is")
    fake = FakeInterpreter(LABELS, [[-3.0, -1.0, -2.0]])
    answers = Classifier.from_interpreter(negative, lambda: fake).classify(PICTURE, min_score=0)
    assert [(answer.label, answer.score) for answer in answers] == [("dog", -1), ("owl", -2), ("cat", -3)]


def test_probabilities_are_left_alone() -> None:
    for content, labels in ((converted(), LABELS), (converted("uint8"), LABELS), (converted(outputs=1), TWO)):
        classifier = Classifier(content, labels=labels, **SCALING)
        assert (classifier.contract.scores, classifier.notes) == ("probabilities", ())
    as_is = Classifier(converted(), labels=LABELS, scores="as-is", **SCALING)
    assert as_is.contract.scores == "probabilities"


@pytest.mark.parametrize(
    ("last", "ending", "scores"),
    [
        ("softmax", Ending("SOFTMAX", False, 3), "probabilities"),
        ("slice", Ending("SOFTMAX", False, 4), "probabilities"),
        ("log", Ending("LOG_SOFTMAX", False, 3), "softmax"),
        ("tanh", Ending("TANH", False, 3), ""),
        ("relu", Ending("FULLY_CONNECTED", False, 3), ""),
    ],
)
@pytest.mark.workstation
def test_how_a_model_ends_is_recognised(last: str, ending: Ending, scores: str) -> None:
    content = written_out(last)
    assert check_structure(content).ending == ending
    options: dict[str, Any] = {"labels": LABELS, **SCALING}
    if not scores:
        with pytest.raises(ModelFileError, match=r"give `scores` \(softmax, sigmoid or as-is: it ends with"):
            Classifier(content, **options)
        assert Classifier(content, scores="as-is", **options).contract.scores == "as-is"
        return
    classifier = Classifier(content, **options)
    assert classifier.contract.scores == scores
    if last != "slice":
        assert sum(classifier.scores(PICTURE)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (lambda: converted(outputs=1, activation="softmax"), {"labels": TWO}, "softmax over one unit, which always"),
        (lambda: converted(outputs=1, activation="softmax"), {"labels": TWO, "scores": "as-is"}, "always answers 1"),
        (lambda: converted(outputs=2, activation="sigmoid"), {"labels": TWO}, "two sigmoids.*task=multilabel"),
        (lambda: logits(outputs=2), {"labels": TWO, "scores": "sigmoid"}, "two sigmoids.*scores=softmax"),
        (lambda: converted(), {"labels": LABELS, "scores": "softmax"}, "ends with SOFTMAX.*already"),
        (lambda: converted(outputs=1), {"labels": TWO, "scores": "sigmoid"}, "ends with LOGISTIC.*already"),
        (lambda: converted(), {"labels": LABELS, "task": "multilabel"}, "exclude each other"),
        (lambda: logits(outputs=1), {"labels": TWO, "scores": "softmax"}, "does not fit the task binary"),
        (lambda: logits(outputs=1), {"labels": TWO, "scores": "as-is"}, "cannot be taken as it is.*scores=sigmoid"),
        (
            lambda: logits(),
            {"labels": LABELS, "scores": "relu"},
            "scores is 'relu', expected softmax, sigmoid or as-is",
        ),
    ],
)
def test_scores_that_would_be_wrong_are_refused(content: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PocketlensError, match=message):
        Classifier(content(), **options, **SCALING)


def test_sigmoids_are_labels_by_themselves() -> None:
    content = converted(activation="sigmoid")
    assert "is `task=multilabel` meant?" in Classifier(content, labels=LABELS, **SCALING).notes[0]
    assert Classifier(content, labels=LABELS, task="multilabel", **SCALING).notes == ()
    two = Classifier(converted(outputs=2, activation="sigmoid"), labels=TWO, task="multilabel", **SCALING)
    assert two.contract.scores == "probabilities"


def test_a_contract_must_not_take_logits_for_probabilities() -> None:
    spec = ImageInput(8, 8)
    with pytest.raises(ContractError, match=r"its outputs are logits.*scores='softmax'"):
        Classifier(logits(), contract=Contract(LABELS, spec))
    assert sum(
        Classifier(logits(), contract=Contract(LABELS, spec, scores="softmax")).scores(PICTURE)
    ) == pytest.approx(1)


def test_a_sealed_model_may_carry_its_activation() -> None:
    contract = Contract(LABELS, ImageInput(8, 8), scores="softmax", confidence=Confidence(2.0))
    assert '"scores": "softmax"' in contract.to_json()
    assert '"scores"' not in Contract(LABELS, ImageInput(8, 8)).to_json()
    for kind in ("float32", "int8"):
        classifier = Classifier(seal(logits(kind), contract))
        values = classifier.output.dequantize(classifier.run(PICTURE)).reshape(-1)
        np.testing.assert_allclose(classifier.scores(PICTURE), softmax(values / 2), rtol=1e-4)


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        ("binary", {"scores": "softmax"}),
        ("multiclass", {"scores": "logits"}),
        ("multiclass", {"scores": "as-is", "confidence": Confidence(1.0, 0.5)}),
    ],
)
def test_a_contract_refuses_what_cannot_be(task: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        Contract(TWO, ImageInput(8, 8), task, **fields)


def test_extreme_logits_make_probabilities() -> None:
    extremes = np.array([-1e30, -100, 0, 100, 1e30], np.float32)
    np.testing.assert_allclose(sigmoid(extremes), [0, 0, 0.5, 1, 1], atol=1e-7)
    np.testing.assert_allclose(softmax(extremes), [0, 0, 0, 0, 1])


def test_the_command_says_it_once_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n")
    (tmp_path / "m.tflite").write_bytes(logits())
    for name in ("a.png", "b.png"):
        Image.fromarray(PICTURE).save(tmp_path / name)
    options = ("--model", "m.tflite", "--labels", "labels.txt", "--mean", 127.5, "--std", 127.5)
    found = succeed(run_pocketlens("classify", *options, "a.png", "b.png", cwd=tmp_path))
    (line,) = found.stderr.splitlines()
    assert line.startswith("m.tflite: it ends with FULLY_CONNECTED, so its outputs are logits: softmax")
    assert "--scores as-is" in line
    scores = [float(word) for word in found.stdout.split() if word.startswith("0.")]
    assert sum(scores) == pytest.approx(2, abs=0.01)
    assert succeed(run_pocketlens("classify", *options, "--scores", "softmax", "a.png", cwd=tmp_path)).stderr == ""
    refused = run_pocketlens("classify", *options, "--scores", "as-is", "--min-score", 0.5, "a.png", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--min-score is a probability" in refused.stderr
