"""The command `evaluate`: a run or a model file on a split of its own or of another data set; figures and pictures."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from runtime import Classifier, Contract, ImageInput, seal
from runtime.model_file import read_model
from runtime.postprocessing import rank
from tests.support.commands import answer, invoke
from tests.support.datasets import images_of
from tests.support.exports import Exported
from trainer.data import Dataset, Geometry, load_dataset
from trainer.data.run_folder import read_run
from trainer.data.sources import ArraySource, FileSource, read_source
from trainer.data.splits import make_splits
from trainer.errors import DatasetError, RunError
from trainer.evaluation.eval_set import EvaluationSet, from_dataset, from_run
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.scoring import score_file
from trainer.plots.image_grid import save_probabilities


def test_a_run_is_measured_on_its_own_test_split(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "look"
    result = invoke("evaluate", small_run, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert "choose by --split validation" in result.stderr
    found = json.loads(result.stdout)
    test = json.loads((small_run / "metrics.json").read_text())["test"]
    for name in ("accuracy", "top_3_accuracy", "per_class", "confusion"):
        assert found[name] == test[name]
    assert (found["dataset"], found["split"], found["samples"]) == ("digits", "test", 359)
    assert found["caution"] in result.stderr
    assert found["unknown"] is None
    confusion = np.array(found["confusion"])
    percent = np.array(found["confusion_percent"])
    np.testing.assert_allclose(percent.sum(axis=1), 100, atol=0.01)
    np.testing.assert_allclose(percent, 100 * confusion / confusion.sum(axis=1, keepdims=True), atol=0.001)

    mistakes = found["mistakes"]
    wrong = confusion.sum() - confusion.trace()
    assert 0 < len(mistakes) == min(60, wrong)
    assert all(mistake["truth"] != mistake["answer"] for mistake in mistakes)
    scores = [mistake["score"] for mistake in mistakes]
    assert scores == sorted(scores, reverse=True)
    targets = json.loads((small_run / "splits.json").read_text())["targets"]
    assert all(str(targets[mistake["index"]]) == mistake["truth"] for mistake in mistakes)

    assert sorted(path.name for path in out.iterdir()) == ["confusion.png", "mistakes.png", "predictions.png"]
    for picture in found["pictures"]:
        with Image.open(picture) as image:
            assert min(image.size) > 150


def test_the_same_split_of_the_named_data_set_gives_the_same_figures(small_run: Path) -> None:
    test = json.loads((small_run / "metrics.json").read_text())["test"]
    found = json.loads(answer("evaluate", small_run, "--dataset", "digits", "--json"))
    assert found["accuracy"] == test["accuracy"]
    assert found["confusion"] == test["confusion"]
    result = invoke("evaluate", small_run, "--dataset", "digits", "--split", "all")
    assert "1,797 samples" in result.stdout
    assert "note: 1,438 of these 1,797 samples were trained on, or chosen by" in result.stderr
    assert "top-3 accuracy" in result.stdout
    assert "percent of the true label" in result.stdout


def test_a_model_file_is_measured_as_on_a_device(digits_export: Exported, tmp_path: Path) -> None:
    found = json.loads(answer("evaluate", digits_export.int8, "--dataset", "digits", "--json"))
    assert found["accuracy"] >= 0.97
    assert found["samples"] == 359
    assert found["caution"] is None, "the digits are always the same ones, and so are their splits"
    assert "tflite" in found["interpreter"] or "litert" in found["interpreter"]
    result = invoke("evaluate", digits_export.int8)
    assert result.exit_code == 2
    assert "--dataset" in result.stderr
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(digits_export.int8.read_bytes()[:-1000])
    result = invoke("evaluate", damaged, "--dataset", "digits")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_labels_that_differ_are_refused_with_both_named(small_run: Path, colour_folder: Path) -> None:
    result = invoke("evaluate", small_run, "--dataset", colour_folder)
    assert result.exit_code == 1
    told = result.stderr.splitlines()[-1]
    assert "0, 1, 2" in told
    assert "blue, green, red" in told
    result = invoke("evaluate", small_run, "--merge", "1,2=3")
    assert result.exit_code == 2
    assert "--dataset" in result.stderr


def test_one_image_is_shown_with_its_scores(small_run: Path, digits_export: Exported, tmp_path: Path) -> None:
    for model, options in ((small_run, ()), (digits_export.int8, ("--dataset", "digits"))):
        command = ("evaluate", model, *options, "--index", 7, "--out", tmp_path)
        found = json.loads(answer(*command, "--json"))
        assert found["truth"] == "7"
        scores = [*found["scores"].values()]
        assert sum(scores) == pytest.approx(1, abs=0.02)
        assert scores == sorted(scores, reverse=True)
        with Image.open(found["picture"]) as picture:
            assert min(picture.size) > 300
        lines = answer(*command).splitlines()
        assert lines[0].startswith("sample: #7 (")
        assert lines[1] == "true label: 7"
        assert lines[2] == f"predicted label: {found['answer']} ({'correct' if found['correct'] else 'wrong'})"
        assert found["correct"] == (found["answer"] == "7")
        assert found["answer"] == next(iter(found["scores"]))
    result = invoke("evaluate", small_run, "--index", 1797)
    assert result.exit_code == 2
    assert "0 to 1796" in result.stderr
    refused: list[Any] = [("--split", "test"), ("--dataset", "digits", "--seed", 0)]
    for extra in refused:
        result = invoke("evaluate", small_run, "--index", 7, *extra)
        assert result.exit_code == 2
        assert "leave --split and --seed out" in result.stderr


def test_a_sample_is_named_within_its_split_or_taken_at_random(small_run: Path, digits_export: Exported) -> None:
    splits = json.loads((small_run / "splits.json").read_text())
    for model, options in ((small_run, ()), (digits_export.int8, ("--dataset", "digits"))):
        found = json.loads(answer("evaluate", model, *options, "--index", "test:12", "--json"))
        assert (found["index"], found["sample"]) == (splits["test"][12], "test:12")
        assert found["truth"] == str(splits["targets"][splits["test"][12]])
    for named, split in (("random", "test"), ("val:random", "validation"), ("Train:RANDOM", "train")):
        chosen = [
            json.loads(answer("evaluate", small_run, "--index", named, "--seed", seed, "--json"))["index"]
            for seed in (1, 1, 2, 3)
        ]
        assert chosen[0] == chosen[1]
        assert len({*chosen}) > 1
        assert {*chosen} <= {*splits[split]}
    one = json.loads(answer("evaluate", small_run, "--index", "random", "--split", "train", "--json"))
    assert one["index"] in splits["train"]
    for wrong, reason in (
        ("test:359", "test:0 to test:358"),
        ("tset:3", "as in test:12"),
        ("best", "expected random"),
        ("-1", "0 to 1796"),
    ):
        result = invoke("evaluate", small_run, "--index", wrong)
        assert result.exit_code == 2
        assert reason in " ".join(result.stderr.split())


def test_the_loss_the_averages_and_the_curves_are_told(small_run: Path, marks_run: Path) -> None:
    found = json.loads(answer("evaluate", small_run, "--json"))
    recalls = [row["recall"] for row in found["per_class"].values()]
    assert found["averages"]["macro"]["recall"] == pytest.approx(np.mean(recalls))
    assert found["averages"]["weighted"]["recall"] == pytest.approx(found["accuracy"])
    assert found["averages"]["weighted"]["support"] == 359
    assert 0 < found["loss"] < 2
    assert "epoch 3" in found["learning_curves"]
    text = answer("evaluate", small_run)
    assert f"loss: {found['loss']:.4f}\naccuracy: " in text
    assert "\nmacro average " in text
    assert "\nweighted average " in text
    assert text.splitlines()[-1] == f"learning curves: {found['learning_curves']}"
    named = json.loads(answer("evaluate", small_run, "--dataset", "digits", "--json"))
    assert named["loss"] == pytest.approx(found["loss"])
    assert named["learning_curves"] is None
    several = json.loads(answer("evaluate", marks_run, "--json"))
    assert several["averages"]["macro"]["f1"] == pytest.approx(several["macro_f1"])


def test_another_seed_draws_other_samples(small_run: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        answer("evaluate", small_run, "--seed", seed, "--out", tmp_path / str(seed))
    answer("evaluate", small_run, "--out", tmp_path / "default")
    drawn = {name: (tmp_path / name / "predictions.png").read_bytes() for name in ("0", "1", "default")}
    assert drawn["0"] == drawn["default"] != drawn["1"]


def test_a_binary_run_asks_its_own_question_of_any_data_set(binary_run: Path, tmp_path: Path) -> None:
    test = json.loads((binary_run / "metrics.json").read_text())["test"]
    own = json.loads(answer("evaluate", binary_run, "--json", "--out", tmp_path))
    named = json.loads(answer("evaluate", binary_run, "--dataset", "digits", "--json"))
    for found in (own, named):
        assert found["labels"] == ["not 8", "8"]
        assert found["roc_auc"] == pytest.approx(test["roc_auc"])
        assert found["confusion"] == test["confusion"]
    assert {path.name for path in tmp_path.iterdir()} >= {"confusion.png", "roc.png", "predictions.png"}


def test_a_run_on_vectors_is_measured(circles_run: Path, tmp_path: Path) -> None:
    test = json.loads((circles_run / "metrics.json").read_text())["test"]
    for name in ("mistakes.png", "predictions.png", "labels.png", "roc.png", "mine.png"):
        (tmp_path / name).write_bytes(b"of another model")
    found = json.loads(answer("evaluate", circles_run, "--dataset", "circles", "--json", "--out", tmp_path))
    assert found["accuracy"] == test["accuracy"]
    assert {path.name for path in tmp_path.iterdir()} == {"confusion.png", "roc.png", "mine.png"}
    assert (tmp_path / "roc.png").read_bytes() != b"of another model"
    one = json.loads(answer("evaluate", circles_run, "--index", 3, "--out", tmp_path, "--json"))
    assert sum(one["scores"].values()) == pytest.approx(1)
    result = invoke("evaluate", circles_run, "--dataset", "digits")
    assert result.exit_code == 1
    assert "outer, inner" in result.stderr


def test_a_run_of_several_labels_is_measured(marks_run: Path, marks_csv: Path, tmp_path: Path) -> None:
    test = json.loads((marks_run / "metrics.json").read_text())["test"]
    for options in ((), ("--dataset", marks_csv)):
        found = json.loads(answer("evaluate", marks_run, *options, "--json", "--out", tmp_path))
        assert found["mean_average_precision"] == pytest.approx(test["mean_average_precision"])
        assert found["per_class"] == test["per_class"]
    assert {path.name for path in tmp_path.iterdir()} >= {"labels.png", "predictions.png"}
    assert "mean average precision" in answer("evaluate", marks_run)


def colours(labels: tuple[str, ...], targets: npt.NDArray[Any], task: str = "multiclass") -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (len(targets), 4, 4), dtype=np.uint8)
    return Dataset("made", labels, ImageInput(4, 4, "grey"), images[..., None], targets, ArraySource(images), task=task)


def test_labels_in_another_order_are_the_same_labels() -> None:
    data = colours(("a", "b", "c"), np.array([0, 1, 2, 1], np.int32))
    contract = Contract(("c", "a", "b"), ImageInput(4, 4, "grey"))
    evaluation_set = from_dataset(data, contract, "all", 0, "model")
    assert [evaluation_set.true_label(index) for index in range(4)] == ["a", "b", "c", "b"]
    assert evaluation_set.targets.tolist() == [1, 2, 0, 2]

    several = colours(("a", "b", "c"), np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]], np.uint8), "multilabel")
    evaluation_set = from_dataset(several, replace(contract, task="multilabel"), "all", 0, "model")
    assert [evaluation_set.true_label(index) for index in range(3)] == ["a", "c, b", "(none)"]
    with pytest.raises(DatasetError, match="multilabel"):
        from_dataset(data, replace(contract, task="multilabel"), "all", 0, "model")


def test_answers_of_several_labels_are_right_as_a_whole() -> None:
    targets = np.array([[1, 0], [1, 1], [0, 0]], np.uint8)
    source = ArraySource(np.zeros((3, 4, 4), np.uint8))
    evaluation_set = EvaluationSet("made", "all", ("cat", "dog"), source, targets, np.arange(3))
    found = Predictions(np.array([[0.9, 0.2], [0.8, 0.3], [0.6, 0.1]], np.float32), targets, "multilabel")
    assert found.correct.tolist() == [True, False, False]
    assert [evaluation_set.describe(found, place)["answer"] for place in range(3)] == ["cat", "cat", "cat"]
    assert found.mistakes().tolist() == [1, 2]
    assert evaluation_set.describe(found, 2)["truth"] == "(none)"
    assert evaluation_set.describe(found, 2)["score"] == pytest.approx(0.6)
    assert evaluation_set.describe(found, 0)["score"] == pytest.approx(0.8)


def test_what_a_device_leaves_unanswered_is_counted(digits_export: Exported, tmp_path: Path) -> None:
    file = read_model(digits_export.int8)
    plain = json.loads(answer("evaluate", digits_export.int8, "--dataset", "digits", "--json"))
    assert plain["unknown"] is None
    contract = replace(file.contract, confidence=file.contract.confidence._replace(threshold=0.9))
    strict = tmp_path / "strict.tflite"
    strict.write_bytes(seal(file.flatbuffer, contract))
    found = json.loads(answer("evaluate", strict, "--dataset", "digits", "--json"))
    assert found["confusion"] == plain["confusion"]

    data, classifier = load_dataset("digits", Geometry()), Classifier(strict)
    test = make_splits(data.targets, data.labels, data.given, contract.provenance.seed).test
    images = images_of(data)
    unknown = [i for i in test if classifier.classify(images[i])[0].label == "unknown"]
    always = Classifier(digits_export.int8)
    wrong = [i for i in unknown if always.classify(images[i])[0].index != data.targets[i]]
    assert found["unknown"] == {"threshold": 0.9, "samples": len(unknown), "wrong": len(wrong)}
    assert unknown
    told = f"unknown below 0.9: {len(unknown)} of 359 samples, {len(wrong)} of which count as wrong"
    assert told in answer("evaluate", strict, "--dataset", "digits")


def test_a_score_is_held_against_the_threshold_as_the_runtime_does() -> None:
    scores = np.array([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6]], np.float32)
    found = Predictions(scores, np.array([1, 1, 1]))
    assert found.below_threshold(0.0) is None
    for threshold in (0.6, 0.7, 0.75, 0.8, 1.0):
        below = [rank(row, ("a", "b"), 1, threshold=threshold)[0].label == "unknown" for row in scores]
        wrong = [missed and place == 0 for place, missed in enumerate(below)]
        assert found.below_threshold(threshold) == {"threshold": threshold, "samples": sum(below), "wrong": sum(wrong)}


@pytest.mark.parametrize(("task", "labels"), [("binary", 2), ("multilabel", 3)])
def test_a_model_file_of_another_task_is_scored(task: str, labels: int, task_models: Path, tmp_path: Path) -> None:
    paths = tuple(f"{shade}.png" for shade in (0, 255, 120))
    for path, shade in zip(paths, (0, 255, 120), strict=True):
        Image.new("L", (4, 4), shade).save(tmp_path / path)
    digests = tuple(hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() for path in paths)
    source, model = FileSource(tmp_path, paths, digests), task_models / f"{task}-int8.tflite"
    scores, interpreter = score_file(model, source, np.array([1, 0]))
    assert scores.shape == (2, labels)
    assert interpreter
    sigmoid = 1 / (1 + np.exp(-(0.25 + np.array([1.0, 0.0]))))
    np.testing.assert_allclose(scores[:, -1], sigmoid, atol=0.02)
    (tmp_path / paths[0]).write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"int8\.tflite: cannot be scored: .*0\.png: changed"):
        score_file(model, source, np.array([0]))


def test_a_file_that_changed_is_told(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    source = FileSource(tmp_path, ("a.png", "b.png"), ("0" * 64, "0" * 64))
    with pytest.raises(DatasetError, match=r"a\.png: changed"):
        source.sample(0)
    with pytest.raises(DatasetError, match=r"b\.png: cannot be opened"):
        source.sample(1)


def test_splits_that_were_tampered_with_are_refused(small_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    written = json.loads((folder / "splits.json").read_text())
    changes = (
        {"targets": [99, *written["targets"][1:]]},
        {"test": [5000]},
        {"test": "many"},
        {"targets": [1, 2]},
        {"images": {"kind": "files", "root": "/", "paths": ["../x.png"], "sha256": ["0"]}},
        {"images": {"kind": "pickle"}},
    )
    for change in changes:
        (folder / "splits.json").write_text(json.dumps(written | change))
        with pytest.raises(RunError, match="not as the trainer writes them"):
            from_run(read_run(folder), "test")
    (folder / "splits.json").write_text(json.dumps(written | {"test": []}))
    with pytest.raises(RunError, match="empty"):
        from_run(read_run(folder), "test")


def test_a_source_is_read_as_it_was_written(tmp_path: Path) -> None:
    data = load_dataset("digits", Geometry())
    source = read_source(tmp_path, data.source.write(tmp_path))
    np.testing.assert_array_equal(source.sample(5), images_of(data)[5])


def test_any_label_and_many_of_them_have_bars(tmp_path: Path) -> None:
    labels = (r"$\frac{", "日本語", *(f"label {n}" for n in range(200)))
    values = np.random.default_rng(0).dirichlet(np.ones(len(labels))).astype(np.float32)
    scores = dict(zip(labels, values.tolist(), strict=True))
    save_probabilities(tmp_path / "bars.png", np.zeros((4, 6, 1), np.uint8), scores, [r"$\frac{"], r"$\frac{")
    few = {label: scores[label] for label in labels[:2]}
    save_probabilities(tmp_path / "few.png", None, few, [], "no picture")
    for name in ("bars.png", "few.png"):
        with Image.open(tmp_path / name) as picture:
            assert 300 < min(picture.size) < max(picture.size) < 1500
