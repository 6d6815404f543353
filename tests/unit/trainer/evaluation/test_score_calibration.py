"""Temperature and threshold, against data whose truth is known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from exporter.errors import ExportError
from exporter.export import export
from exporter.recipe import ExportConfig, Recipe
from runtime import Classifier, Confidence, read_model
from runtime.postprocessing import apply_temperature, score_floor
from tests.support.commands import call_pocketlens, succeed
from trainer.data.run_folder import read_run
from trainer.evaluation.calibration_error import rejection, reliability
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.score_calibration import (
    fit_confidence,
    fit_temperature,
    fit_threshold,
    minimize,
    rejecting_threshold,
)


def draw(count: int, sharpness: float, seed: int = 0) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Scores of ten classes and truths drawn from them; then the scores' logits are multiplied."""
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet([0.3] * 10, count)
    targets = (honest.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    powers = np.maximum(honest, 1e-12) ** sharpness
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), targets


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 1.6, 3.0])
def test_the_temperature_that_scores_were_made_with_is_found(sharpness: float) -> None:
    scores, targets = draw(20_000, sharpness)
    temperature = fit_temperature(scores, targets, 1e-12)
    assert temperature == pytest.approx(sharpness, rel=0.04)
    unseen, truth = draw(20_000, sharpness, seed=1)
    assert reliability(apply_temperature(unseen, temperature, 1e-12), truth).error < 0.012
    if sharpness != 1:
        assert reliability(unseen, truth).error > 0.05


@pytest.mark.parametrize("sharpness", [1.6, 3.0])
def test_scores_of_eight_bits_become_honest_too(sharpness: float) -> None:
    def stored(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(np.minimum(np.round(scores * 256), 255) / 256, np.float32)

    scores, targets = draw(20_000, sharpness)
    floor = score_floor(1 / 256, 10)
    temperature = fit_temperature(stored(scores), targets, floor)
    unseen, truth = draw(20_000, sharpness, seed=1)
    before = reliability(stored(unseen), truth).error
    after = reliability(apply_temperature(stored(unseen), temperature, floor), truth).error
    assert after < 0.03
    assert after < before / 2


def test_pictures_that_are_all_answered_right_are_no_proof() -> None:
    scores = np.full((200, 4), 1e-7, np.float32)
    scores[:, 0] = 1
    targets = np.zeros(200, np.int64)
    temperature = fit_temperature(scores, targets, 1e-12)
    best = apply_temperature(scores, temperature, 1e-12)[0, 0]
    assert best == pytest.approx(201 / 202, abs=1e-3)


def test_the_search_finds_the_bottom_of_a_valley() -> None:
    assert minimize(lambda x: (x - 0.37) ** 2, -5, 5) == pytest.approx(0.37, abs=1e-6)
    assert minimize(lambda x: x, -1, 2) == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_no_more_wrong_answers_pass_than_were_wished(rate: float) -> None:
    scores, targets = draw(5000, 1.0)
    threshold, note = fit_threshold(scores, targets, rate)
    assert note == ""
    found = rejection(scores, targets, threshold)
    wrong = int((scores.argmax(axis=1) != targets).sum())
    assert found.false_accept_rate is not None
    assert rate - 3 / wrong <= found.false_accept_rate <= rate
    unseen = rejection(*draw(5000, 1.0, seed=2), threshold)
    assert unseen.false_accept_rate == pytest.approx(rate, abs=0.03)
    assert unseen.accuracy is not None
    assert unseen.accuracy > (scores.argmax(axis=1) == targets).mean()


def test_thresholds_at_the_ends() -> None:
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]], np.float32)
    wrong_twice, all_right = np.array([0, 1, 1]), np.zeros(3, np.int64)
    assert fit_threshold(scores, wrong_twice, 1.0) == (0.0, "")
    assert fit_threshold(scores, all_right, 0.1) == (0.0, "no threshold: no answer on the validation split is wrong")
    threshold, note = fit_threshold(scores, wrong_twice, 0.05)
    assert 0.6999 < threshold < 0.70001
    assert threshold > scores[2, 0]
    assert "all 2 wrong answers" in note
    assert "only with 19 of them" in note
    assert rejection(scores, wrong_twice, threshold).false_accept_rate == 0
    assert "more than any number" in fit_threshold(scores, wrong_twice, 0.0)[1]
    sure = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert fit_threshold(sure, np.array([1, 0]), 0.0)[0] == 1.0
    assert rejection(sure, np.array([0, 1]), 0.5).false_accept_rate is None
    assert rejection(scores, all_right, 0.95).accuracy is None


def test_a_rate_that_is_just_sure_has_no_note_and_an_equal_score_is_rejected() -> None:
    # One wrong answer, scored 0.5: of two like it one may be accepted, so a rate of one half is just sure.
    threshold, note = rejecting_threshold(np.array([0.5]), 0.5, "wrong answers")
    assert (threshold, note) == (0.500001, "")
    assert rejecting_threshold(np.array([0.5]), 0.49, "wrong answers")[1].startswith(
        "the threshold rejects all 1 wrong"
    )


def test_what_has_no_temperature_says_why() -> None:
    logits = np.array([[5.0, -3.0], [2.0, 1.0]], np.float32)
    fitted = fit_confidence(Predictions(logits, np.array([0, 0])), "int8")
    assert fitted.confidence == Confidence()
    assert "no probabilities" in fitted.notes[0]
    fitted = fit_confidence(Predictions(logits, np.eye(2, dtype=np.int64), "multilabel"), "int8")
    assert fitted.confidence == Confidence(threshold=0.5)
    assert "end with sigmoids" in fitted.notes[0]


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_binary_and_several_labels_have_a_temperature(sharpness: float) -> None:
    rng = np.random.default_rng(0)
    honest = rng.beta(0.7, 0.7, (8_000, 4))
    targets = (rng.random(honest.shape) < honest).astype(np.int64)
    odds = (honest / (1 - honest)) ** sharpness
    scores = (odds / (1 + odds)).astype(np.float32)
    fitted = fit_confidence(Predictions(scores, targets, "multilabel"), "int8")
    assert fitted.confidence.temperature == pytest.approx(sharpness, rel=0.05)
    assert fitted.confidence.threshold == 0.5
    assert fitted.notes == ()
    both = np.stack([1 - scores[:, 0], scores[:, 0]], axis=1)
    fitted = fit_confidence(Predictions(both, targets[:, 0], "binary"), "int8")
    assert fitted.confidence.temperature == pytest.approx(sharpness, rel=0.08)
    assert fitted.confidence.threshold == 0
    tempered = apply_temperature(scores, sharpness, 1e-12, independent=True)
    assert reliability(tempered, targets).error < 0.012
    if sharpness != 1:
        assert reliability(scores, targets).error > 0.04


def test_of_absent_labels_only_the_share_asked_for_is_given() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((5_000, 3)) < 0.4).astype(np.int64)
    scores = np.clip(rng.normal(0.3 + 0.4 * targets, 0.2), 0.01, 0.99).astype(np.float32)
    confidence, notes = fit_confidence(Predictions(scores[:2_500], targets[:2_500], "multilabel"), "int8", 0.05)
    assert notes == ()
    tempered = apply_temperature(scores[2_500:], confidence.temperature, 1e-12, independent=True)
    found = rejection(tempered, targets[2_500:], confidence.threshold)
    assert found.false_accept_rate == pytest.approx(0.05, abs=0.012)
    assert found.accuracy == pytest.approx(targets[2_500:][tempered >= confidence.threshold].mean())
    assert found.answered == pytest.approx((tempered >= confidence.threshold).any(axis=1).mean())
    sure = fit_confidence(Predictions(scores, np.ones_like(targets), "multilabel"), "int8", 0.05)
    assert sure.confidence.threshold == 0
    assert "every validation sample has every label" in sure.notes[0]


def test_an_export_with_a_threshold(digits_run: Path, tmp_path: Path) -> None:
    result = succeed(call_pocketlens("export", digits_run, "--out", tmp_path, "--false-accept-rate", "0.5"))
    assert "int8" in result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["false_accept_rate"] == 0.5
    assert "--false-accept-rate 0.5" in report["command"]
    run = read_run(digits_run)
    test = run.splits["test"]
    for model in report["models"]:
        path = tmp_path / model["file"]
        contract = read_model(path).contract
        assert contract.confidence == Confidence(model["temperature"], model["threshold"])
        assert model["temperature"] != 1
        classifier = Classifier(path)
        scores = np.stack([classifier.scores(run.source.sample(int(i))) for i in test])
        assert model["calibration_error"] == pytest.approx(reliability(scores, run.targets[test]).error, abs=1e-6)
        labels = [classifier.classify(run.source.sample(int(i)))[0].label for i in test]
        assert model["rejection"]["answered"] == pytest.approx(1 - labels.count("unknown") / len(labels))
    html = (tmp_path / "report.html").read_text()
    assert "Score calibration" in html
    assert "fitted so that this share is at most 0.5" in html


def test_without_validation_images_scores_stay_as_they_are(digits_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(digits_run, folder)
    splits = json.loads((folder / "splits.json").read_text())
    (folder / "splits.json").write_text(json.dumps({**splits, "validation": []}))
    run = read_run(folder)
    with pytest.raises(ExportError, match="`validation`"):
        export(run, tmp_path / "out", config=ExportConfig(false_accept_rate=0.1))
    exported = export(run, tmp_path / "out", [Recipe.float32()])
    assert any("no validation images" in line for line in exported.report["warnings"])
    assert read_model(tmp_path / "out/float32.tflite").contract == replace(run.contract, confidence=Confidence())
    assert exported.report["models"][0]["temperature"] == 1
