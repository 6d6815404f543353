"""`pocketlens compare OLD NEW --dataset`, on exported digits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from runtime import seal
from runtime.model_file import read_model
from tests.support.browser import check_layout
from tests.support.commands import answer, invoke
from tests.support.exports import Exported

pytestmark = pytest.mark.workstation


@pytest.fixture(scope="module")
def swapped(digits_export: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the int8 model of the digits, whose answers 3 and 8 are exchanged: it is worse."""
    folder = tmp_path_factory.mktemp("swapped")
    file = read_model(digits_export.int8)
    labels = [*file.contract.labels]
    labels[3], labels[8] = labels[8], labels[3]
    (folder / "int8.tflite").write_bytes(seal(file.flatbuffer, replace(file.contract, labels=tuple(labels))))
    return folder


def test_the_verdict_the_classes_and_the_pictures(digits_export: Exported, swapped: Path, tmp_path: Path) -> None:
    picture, page = tmp_path / "change.png", tmp_path / "change.html"
    command = ("compare", swapped, digits_export.folder, "--dataset", "digits", "--out", picture, "--html", page)
    found = json.loads(answer(*command, "--json"))
    assert (found["verdict"], found["metric"], found["samples"], found["split"]) == ("better", "accuracy", 359, "test")
    assert found["p_value"] < 1e-9
    assert found["old"] < 0.85 < 0.97 <= found["new"]
    assert found["interval"][0] < found["change"] < found["interval"][1]
    assert {each["label"] for each in found["classes"] if each["verdict"] == "better"} == {"3", "8"}
    counts = found["counts"]
    assert counts["both_right"] + counts["won"] + counts["lost"] + counts["both_wrong"] == 359
    assert len(found["won"]) == counts["won"] > 60
    assert {image["truth"] for image in found["won"]} == {"3", "8"}
    assert all(image["new_answer"] == image["truth"] != image["old_answer"] for image in found["won"])
    assert [model["model"] for model in found["models"]] == [str(swapped), str(digits_export.folder)]
    with Image.open(found["plot"]) as drawn:
        assert min(drawn.size) > 300
    text = page.read_text(encoding="utf-8")
    for words in ("the new model is better: accuracy 0.", "that only the new model answers correctly", "shown to be"):
        assert words in text
    check_layout([text], tmp_path)

    lines = answer(*command).splitlines()
    assert lines[1].startswith("the new model is better: accuracy 0.")
    assert lines[2].startswith("answers: ")
    assert lines[-3].endswith("shown to be worse: none")
    assert lines[-1] == f"page: {page}"


def test_a_worse_model_fails_only_where_that_is_wanted(digits_export: Exported, swapped: Path) -> None:
    command = ("compare", digits_export.int8, swapped / "int8.tflite", "--dataset", "digits")
    result = invoke(*command)
    assert result.exit_code == 0
    assert "the new model is worse" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("shown to be worse: 8, 3")
    assert invoke(*command, "--fail-if-worse").exit_code == 3
    assert invoke("compare", swapped, digits_export.int8, "--dataset", "digits", "--fail-if-worse").exit_code == 0


def test_a_model_that_has_a_label_more_is_compared_on_the_others(digits_export: Exported, tmp_path: Path) -> None:
    file = read_model(digits_export.int8)
    labels = tuple("nine" if label == "9" else label for label in file.contract.labels)
    renamed = tmp_path / "renamed.tflite"
    renamed.write_bytes(seal(file.flatbuffer, replace(file.contract, labels=labels)))
    result = invoke("compare", digits_export.int8, renamed, "--dataset", "digits", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["labels"] == [str(n) for n in range(9)]
    assert (found["samples"], found["left_out"]) == (323, 36)
    assert (found["change"], found["verdict"]) == (0, "not shown to be different")
    assert f"note: only {renamed} has the labels nine" in result.stderr
    assert "36 images are left out" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("MODELS", "MODELS"), 2, "a model file has no figures with it; name images with --dataset"),
        (("MODELS", "--dataset", "digits"), 2, "models to compare with --dataset: 1, expected two"),
        (("nowhere", "MODELS", "--dataset", "digits"), 1, "no such file or folder"),
        (("RUN", "RUN", "--split", "all"), 2, "--split is for the images of --dataset"),
        (("MODELS", "MODELS", "--dataset", "circles"), 1, "images"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    arguments: tuple[str, ...], status: int, words: str, digits_export: Exported, digits_run: Path
) -> None:
    named = {"MODELS": str(digits_export.folder), "RUN": str(digits_run)}
    result = invoke("compare", *(named.get(word, word) for word in arguments))
    assert result.exit_code == status
    assert words in result.stderr.splitlines()[-1]
