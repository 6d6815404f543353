"""Figures under corruptions: from scores, and by the command `evaluate --corruptions` on real models."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from runtime import Classifier, Contract, FeaturesInput, ImageInput
from tests.support.browser import check_layout
from tests.support.commands import answer, invoke
from tests.support.exports import Exported
from trainer.data.run_folder import read_run
from trainer.data.samples import sample_in_proportion
from trainer.errors import RunError
from trainer.evaluation.corruptions import CORRUPTIONS, SEVERITIES, VERSIONS, corrupt
from trainer.evaluation.robustness import Robustness, choose_images, measure_robustness
from trainer.evaluation.scoring import score_corrupted_file, score_corrupted_keras
from trainer.pages.robustness_section import corruption_means, describe_findings

LABELS = ("cat", "dog", "owl")


def contract_of(task: str, side: int = 28) -> Contract:
    labels = LABELS[:2] if task == "binary" else LABELS
    return Contract(labels, ImageInput(side, side, "grey"), task)


def scores_of(predicted: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scores whose highest is that of each predicted class."""
    scores: npt.NDArray[np.float32] = np.eye(len(LABELS), dtype=np.float32)[predicted]
    return scores


def measured(predicted: npt.NDArray[Any], targets: npt.NDArray[Any]) -> Robustness:
    return measure_robustness(scores_of(predicted), targets, contract_of("multiclass"), total=len(targets), seed=0)


@pytest.mark.fast
def test_the_figures_are_shares_of_right_answers() -> None:
    targets = np.repeat([0, 1, 2], 20)
    predicted = np.repeat(targets[:, np.newaxis], VERSIONS, axis=1)
    fog = 1 + [*CORRUPTIONS].index("fog") * len(SEVERITIES)
    predicted[targets == 2, fog + 2 : fog + 5] = 0  # owls are lost in thick fog
    found = measured(predicted, targets)
    assert (found.metric, found.title, found.images, found.clean) == ("accuracy", "mean corruption accuracy", 60, 1.0)
    assert found.by_corruption["fog"] == pytest.approx([1, 1, 2 / 3, 2 / 3, 2 / 3])
    assert found.by_corruption["noise"] == (1.0,) * 5
    assert found.mean == pytest.approx(1 - 3 / 45 / 3)
    assert found.mean_interval[0] < found.mean < found.mean_interval[1]
    assert (found.weakest_corruption, found.mean_of("fog")) == ("fog", pytest.approx(0.8))
    assert found.weakest_class == ("owl", pytest.approx(42 / 45), 1.0, 20)
    document = json.loads(json.dumps(found.as_dict()))
    assert document["by_class"] == {"cat": 1.0, "dog": 1.0, "owl": pytest.approx(42 / 45)}
    assert document["weakest_corruption"] == {"name": "fog", "mean": pytest.approx(0.8)}
    assert document["weakest_class"]["label"] == "owl"
    assert document["mean_interval"] == list(found.mean_interval)


@pytest.mark.fast
def test_a_drop_is_paired() -> None:
    targets = np.tile([0, 1, 2], 40)
    right = np.repeat(targets[:, np.newaxis], VERSIONS, axis=1)
    some = right.copy()
    some[:30] = (some[:30] + 1) % 3  # both are wrong on the same images
    fewer = some.copy()
    fewer[30:36, 1:] = (fewer[30:36, 1:] + 1) % 3
    before, after = measured(some, targets), measured(fewer, targets)
    drop, (low, high) = before.drop_of(after)
    assert drop == pytest.approx(6 / 120)
    assert 0 < low < drop < high < 0.1  # of unpaired measurements the interval would hold 0
    assert before.drop_of(before) == (0, (0, 0))
    assert "drop" not in before.as_dict(before)
    same = measured(some, targets).as_dict(before)  # equal figures of another model
    assert (same["drop"], same["drop_interval"]) == (0, [0, 0])
    assert after.as_dict(before)["drop"] == drop
    *_, last = describe_findings({"float32": before, "int8": after})
    assert "int8: mean corruption accuracy 0.7000" in last
    assert "5.00 points less than float32 (95 % interval of the drop" in last
    *_, last = describe_findings({"int8": after, "float16": before})
    assert "5.00 points more than int8" in last
    heads, rows = corruption_means({"float32": before, "int8": after})
    assert heads == ["corruption", "float32", "int8", "int8: drop (points)"]
    assert rows[-1] == ["all", "0.7500", "0.7000", "5.00"]


@pytest.mark.fast
def test_several_labels_are_measured_by_average_precision() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((80, 3)) < 0.4).astype(np.uint8)
    targets[:, 2] = 0  # a label without images
    scores = np.repeat(targets[:, np.newaxis] * 0.8 + 0.1, VERSIONS, axis=1).astype(np.float32)
    noise = slice(1, 1 + len(SEVERITIES))
    scores[:, noise, 1] = rng.random((80, 5))
    found = measure_robustness(scores, targets, contract_of("multilabel"), total=900, seed=3)
    assert (found.metric, found.images, found.total, found.seed) == ("mean_average_precision", 80, 900, 3)
    assert found.title == "mean corruption average precision"
    assert found.clean == 1.0
    assert 0.6 < found.mean_of("noise") < 0.8
    assert found.mean == pytest.approx((found.mean_of("noise") + 8) / 9)
    assert found.mean_interval[0] <= found.mean <= found.mean_interval[1]
    assert [each.label for each in found.classes] == ["cat", "dog"]
    weakest = found.weakest_class
    assert weakest is not None
    assert weakest.label == "dog"
    nothing = measure_robustness(scores, np.zeros_like(targets), contract_of("multilabel"), total=80, seed=0)
    assert (nothing.metric, nothing.weakest_class, nothing.as_dict()["weakest_class"]) == ("accuracy", None, None)


@pytest.mark.fast
def test_the_images_are_chosen_in_proportion_to_the_classes() -> None:
    targets = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [600, 300, 100]))
    places = sample_in_proportion(targets, 100, 1)
    assert len({*places.tolist()}) == 100
    assert np.bincount(targets[places]).tolist() == [60, 30, 10]
    assert (np.diff(places) > 0).all()
    assert np.array_equal(places, sample_in_proportion(targets, 100, 1))
    assert not np.array_equal(places, sample_in_proportion(targets, 100, 2))
    assert np.array_equal(sample_in_proportion(targets, 5000, 1), np.arange(1000))
    several = np.stack([targets == 0, targets == 1], axis=1).astype(np.uint8)
    assert several[sample_in_proportion(several, 100, 1)].sum(axis=0).tolist() == [60, 30]


@pytest.mark.fast
@pytest.mark.parametrize(("side", "expected"), [(8, 1000), (28, 1000), (96, 325), (224, 100)])
def test_larger_images_are_fewer(side: int, expected: int) -> None:
    targets = np.zeros(5000, np.int32)
    assert len(choose_images(contract_of("multiclass", side), targets, None, 0)) == expected
    assert len(choose_images(contract_of("multiclass", side), targets, 7, 0)) == 7


def test_a_file_is_scored_on_the_corrupted_pixels_by_the_classifier(digits_run: Path, digits_export: Exported) -> None:
    run = read_run(digits_run)
    chosen = run.splits["test"][:6]
    scores = score_corrupted_file(digits_export.int8, run.source, chosen, 5)
    assert scores.shape == (6, VERSIONS, 10)
    classifier = Classifier(digits_export.int8)
    for place in (0, 5):
        image = np.asarray(run.source.sample(int(chosen[place])))
        assert np.array_equal(scores[place, 0], classifier.scores(image))
        changed = corrupt(image[:, :, np.newaxis], "motion", 4, 5)
        number = 1 + [*CORRUPTIONS].index("motion") * len(SEVERITIES) + 3
        assert np.array_equal(scores[place, number], classifier.scores(changed))
    backwards = score_corrupted_file(digits_export.int8, run.source, chosen[::-1], 5)
    assert np.array_equal(backwards[::-1], scores)
    keras = score_corrupted_keras(run, run.source, chosen, 5)
    float32 = score_corrupted_file(digits_export.float32, run.source, chosen, 5)
    temperature_free = keras.argmax(axis=2) == float32.argmax(axis=2)
    assert temperature_free.mean() > 0.99


def test_evaluate_shows_writes_and_draws_them(digits_export: Exported, tmp_path: Path) -> None:
    out, page = tmp_path / "look", tmp_path / "page.html"
    command = ("evaluate", digits_export.int8, "--dataset", "digits", "--corruptions", "--corruption-images", 60)
    result = invoke(*command, "--out", out, "--html", page)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    head = next(place for place, line in enumerate(lines) if line.split() == ["corruption", *"12345", "mean"])
    assert [line.split()[0] for line in lines[head + 1 : head + 11]] == [*CORRUPTIONS, "all"]
    assert "60 of the 359 images of the split, drawn in proportion to the classes, were " in result.stdout
    assert "int8.tflite: mean corruption accuracy 0." in result.stdout
    assert "The weakest corruption is " in result.stdout
    assert f"table: {out / 'corruptions.csv'}" in result.stdout
    found = json.loads(answer(*command, "--json"))["corruptions"]
    assert (found["metric"], found["images"], found["of"], found["seed"]) == ("accuracy", 60, 359, 0)
    assert [*found["by_corruption"]] == [*CORRUPTIONS]
    assert 0.2 < found["mean"] < found["clean"] <= 1
    with (out / "corruptions.csv").open(newline="") as file:
        rows = [*csv.reader(file)]
    assert rows[0] == ["corruption", "severity", "accuracy"]
    assert len(rows) == 1 + VERSIONS
    assert float(rows[2][2]) == pytest.approx(found["by_corruption"]["noise"][0], abs=1e-6)
    for name in ("corruptions.png", "corruption-examples.png"):
        with Image.open(out / name) as image:
            assert min(image.size) > 500
    text = page.read_text()
    assert "Under corruptions" in text
    assert text.count("<img") > 18
    check_layout([text], tmp_path)
    answer("evaluate", digits_export.int8, "--dataset", "digits", "--out", out)  # another model's figures go
    assert not [*out.glob("corruption*")]


def test_each_task_has_its_metric(binary_run: Path, marks_run: Path) -> None:
    common = ("--corruptions", "--corruption-images", 20, "--json")
    binary = json.loads(answer("evaluate", binary_run, *common))["corruptions"]
    assert (binary["metric"], binary["images"]) == ("accuracy", 20)
    assert {*binary["by_class"]} == {"not 8", "8"}
    several = json.loads(answer("evaluate", marks_run, *common))["corruptions"]
    assert (several["metric"], several["images"]) == ("mean_average_precision", 20)
    assert 0 < several["mean"] <= 1


def test_what_cannot_be_corrupted_is_refused_in_one_line(circles_run: Path, small_run: Path) -> None:
    result = invoke("evaluate", circles_run, "--corruptions")
    assert result.exit_code == 1
    assert "--corruptions change images, and the model takes 2 features (x, y); leave them out" in result.stderr
    for options, expected in (
        (("--index", "test:0", "--corruptions"), "--corruptions is a measurement on a whole split; leave --index out"),
        (("--corruption-images", "5"), "--corruption-images is the number of images for --corruptions"),
        (("--corruptions", "--corruption-images", "0"), "0"),
    ):
        result = invoke("evaluate", small_run, *options)
        assert result.exit_code == 2
        assert expected in result.stderr


@pytest.mark.fast
def test_a_model_of_features_is_refused() -> None:
    contract = Contract(("a", "b"), FeaturesInput(("x", "y"), (0.0, 0.0), (1.0, 1.0)), "binary")
    with pytest.raises(RunError, match=r"`corruptions` change images, and the model takes 2 features \(x, y\)"):
        choose_images(contract, np.zeros(10, np.int32), None, 0)
