"""Temperature and threshold: the calibration in the contract, and how the classifier applies it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from runtime import Classifier, Confidence, Contract, ImageInput, Prediction, read_model
from runtime.model_file import reseal
from runtime.postprocessing import apply_temperature, rank, score_floor
from runtime.testing import FakeInterpreter
from tests.support.commands import run_pocketlens, succeed
from tests.support.exports import Exported, Samples


def with_confidence(path: Path, confidence: Confidence) -> bytes:
    content = path.read_bytes()
    return reseal(content, replace(read_model(content).contract, confidence=confidence))


def test_a_temperature_by_hand() -> None:
    # Logits 2, 1, 0 at temperature 2 are logits 1, 0.5, 0.
    def softmax(logits: list[float]) -> npt.NDArray[Any]:
        powers = np.exp(logits)
        return np.asarray(powers / powers.sum(), np.float32)

    assert apply_temperature(softmax([2, 1, 0]), 2.0, 1e-12) == pytest.approx(softmax([1, 0.5, 0]), abs=1e-6)
    rows = np.stack([softmax([2, 1, 0]), softmax([0, 0, 3])])
    assert apply_temperature(rows, 0.5, 1e-12)[1] == pytest.approx(softmax([0, 0, 6]), abs=1e-6)


def test_independent_scores_are_tempered_one_by_one() -> None:
    # The logit of 0.8 is log 4; half of it is log 2, whose score is 2/3.
    found = apply_temperature(np.array([0.8, 0.2, 0.5], np.float32), 2.0, 1e-12, independent=True)
    assert found == pytest.approx([2 / 3, 1 / 3, 0.5], abs=1e-6)


def test_the_zeros_of_a_quantized_output_do_not_outweigh_what_it_is_sure_of() -> None:
    scores = np.zeros(1000, np.float32)
    scores[7] = 255 / 256
    assert apply_temperature(scores, 1.2, score_floor(1 / 256, 1000))[7] > 0.97
    assert apply_temperature(np.zeros(3, np.float32), 2.0, score_floor(0.0, 3)) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("independent", [False, True])
def test_no_score_is_too_small_for_a_low_temperature(independent: bool) -> None:
    scores = np.full((2, 1000), 1e-3, np.float32)
    scores[1, 7] = 2e-3
    tempered = apply_temperature(scores, 0.01, score_floor(0.0, 1000), independent=independent)
    assert np.isfinite(tempered).all()
    assert independent or tempered[1].argmax() == 7


@pytest.mark.parametrize("temperature", [0.01, 0.3, 1.7, 20, 100])
def test_the_order_stays_whatever_the_temperature(
    io_models: dict[str, Path], digits_samples: Samples, temperature: float
) -> None:
    for name, path in io_models.items():
        before, after = Classifier(path), Classifier(with_confidence(path, Confidence(temperature)))
        for image in digits_samples.arrays:
            stored = after.run(image)
            scores, plain = after.interpret(stored), after.interpret(stored, calibrated=False)
            np.testing.assert_array_equal(plain, before.interpret(stored, calibrated=False))
            assert scores.dtype == np.float32
            assert scores.sum() == pytest.approx(1, abs=1e-5)
            assert scores.argmax() == before.scores(image).argmax(), name
            assert (np.diff(scores[np.argsort(plain, kind="stable")]) >= 0).all(), name
            floor = score_floor(after.output.scale, 10)
            np.testing.assert_allclose(scores, apply_temperature(plain, temperature, floor), rtol=2e-4, atol=1e-7)


def test_the_other_tasks_have_a_temperature_too(task_models: Path) -> None:
    image = np.full((4, 4), 200, np.uint8)
    for kind in ("float32", "int8"):
        for task, labels in (("binary", 2), ("multilabel", 3)):
            path = task_models / f"{task}-{kind}.tflite"
            plain = Classifier(path).scores(image)
            cooler = Classifier(with_confidence(path, Confidence(0.5)))
            scores = cooler.scores(image)
            assert len(scores) == labels
            odds = (plain / (1 - plain)).astype(np.float64)
            assert scores == pytest.approx(odds**2 / (1 + odds**2), abs=0.01), (task, kind)
            assert len(cooler.interpret(cooler.run(image), calibrated=False)) == labels


def test_a_threshold_judges_the_first_answer_alone() -> None:
    rows = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]
    classifier = threshold_classifier("multiclass", rows, 0.6)
    picture = np.zeros((8, 8, 3), np.uint8)
    assert [p.label for p in classifier.classify(picture, top=3)] == ["a", "b", "c"]
    assert classifier.classify(picture, top=3) == [Prediction("unknown", 0.5, -1)]
    # The caller's limit replaces the threshold of the contract.
    assert [p.label for p in classifier.classify(picture, top=3, min_score=0.15)] == ["a", "b"]
    assert [p.label for p in classifier.classify(picture, top=3, min_score=0.0)] == ["a", "b", "c"]
    assert [p.label for p in classifier.classify(picture, min_score=0.8)] == ["unknown"]
    # The threshold applies to the labels that may be predicted, not to the best of all.
    assert [p.label for p in classifier.classify(picture, allow=["b", "c"])] == ["unknown"]


def test_a_threshold_judges_every_label_that_stands_for_itself() -> None:
    classifier = threshold_classifier("multilabel", [[0.7, 0.9, 0.1], [0.5, 0.3, 0.2]], 0.6)
    picture = np.zeros((8, 8, 3), np.uint8)
    assert [p.label for p in classifier.classify(picture, top=3)] == ["b", "a"]
    assert [p.label for p in classifier.classify(picture, top=3)] == ["unknown"]


def test_every_label_that_is_there_is_answered() -> None:
    classifier = threshold_classifier("multilabel", [[0.9, 0.7, 0.6, 0.8, 0.1]], 0.5)
    picture = np.zeros((8, 8, 3), np.uint8)
    assert [p.label for p in classifier.classify(picture)] == ["a", "d", "b", "c"]
    assert [p.label for p in classifier.classify(picture, top=2)] == ["a", "d"]
    assert [p.label for p in classifier.classify(picture, min_score=0.75)] == ["a", "d"]
    assert [
        p.label for p in threshold_classifier("multiclass", [[0.9, 0.7, 0.6, 0.8, 0.1]], 0.5).classify(picture)
    ] == [
        "a",
        "d",
        "b",
    ]


@pytest.mark.parametrize(
    ("second", "expected"), [(0.4, ["yes", "no"]), (0.2, ["no", "yes"]), (0.3, ["yes", "no"]), (0.6, ["yes", "no"])]
)
def test_the_second_of_two_labels_is_answered_from_its_decision_on(second: float, expected: list[str]) -> None:
    scores = np.array([1 - second, second], np.float32)  # 0.3 as a float32 is a little more than 0.3
    found = rank(scores, ("no", "yes"), 2, decision=0.3)
    assert [prediction.label for prediction in found] == expected
    assert [prediction.score for prediction in found] == [scores[prediction.index] for prediction in found]
    assert rank(scores, ("no", "yes"), 1, decision=0.3) == found[:1]
    assert rank(scores, ("no", "yes"), 2, chosen=np.array([0]), decision=0.3)[0].label == "no"
    assert rank(scores, ("no", "yes"), 2, 0.9, decision=0.3)[0].label == "unknown"


def threshold_classifier(task: str, rows: list[list[float]], threshold: float) -> Classifier:
    labels = "abcde"[: len(rows[0])]
    fake = FakeInterpreter(labels, rows)
    contract = Contract(tuple(labels), ImageInput(8, 8), task, confidence=Confidence(threshold=threshold))
    return Classifier.from_interpreter(contract, lambda: fake)


def test_resealing_keeps_what_else_is_in_the_file(digits_export: Exported) -> None:
    from runtime import seal

    file = read_model(digits_export.int8)
    content = seal(file.flatbuffer, file.contract, {"more.txt": b"kept"})
    changed = reseal(content, replace(file.contract, confidence=Confidence(2.0)))
    assert read_model(changed).contract.confidence == Confidence(2.0)
    assert read_model(changed).flatbuffer == file.flatbuffer
    with zipfile.ZipFile(io.BytesIO(changed)) as archive:
        assert archive.read("more.txt") == b"kept"


def test_info_and_classify_obey_the_contract(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    model = tmp_path / "strict.tflite"
    model.write_bytes(with_confidence(digits_export.int8, Confidence(1.5, 1.0)))
    text = succeed(run_pocketlens("info", model)).stdout
    assert 'scores    temperature 1.5, "unknown" below 1\n' in text
    image = digits_samples.files[0]
    assert ": unknown 0." in succeed(run_pocketlens("classify", "--model", model, image)).stdout
    given = succeed(run_pocketlens("classify", "--model", model, "--min-score", "0", image)).stdout
    assert "unknown" not in given
    assert len(given.split(": ", 1)[1].split("  ")) == 3
