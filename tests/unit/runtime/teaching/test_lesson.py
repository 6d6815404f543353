"""Classes taught to a model of three colours: what is learnt, what is refused, and what stays as it was."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier, ContractError, ModelFileError, read_model, seal
from runtime.errors import TeachingError
from runtime.lesson import forget, teach
from runtime.model_file import associated_files
from runtime.model_info import inspect_model
from runtime.selftest.format import MEMBER
from runtime.teaching.decision import combine
from runtime.teaching.format import REHEARSAL_NAME, TAUGHT_NAME, read_rehearsal, read_taught
from tests.support.commands import invoke
from tests.support.models import colour_picture

YELLOW, MAGENTA, CYAN = (1, 1, 0), (1, 0, 1), (0, 1, 1)
Pictures = list[tuple[str, Any]]


def pictures(colour: tuple[float, ...], count: int = 5, first: int = 100) -> Pictures:
    return [(f"{number}.png", colour_picture(colour, number)) for number in range(first, first + count)]


@pytest.fixture(scope="module", params=["float32", "int8"])
def model(request: pytest.FixtureRequest, embedding_models: Path) -> Path:
    return embedding_models / f"embedding-{request.param}.tflite"


@pytest.fixture(scope="module")
def yellow(model: Path) -> bytes:
    return teach(model, "yellow", pictures(YELLOW)).content


def share(content: bytes | Path, label: str, colour: tuple[float, ...], count: int = 50) -> float:
    """The share of new pictures of a colour that are answered with a label."""
    with Classifier(content) as classifier:
        found = [classifier.classify(picture, top=1)[0].label for _, picture in pictures(colour, count, 1000)]
    return found.count(label) / count


def test_a_taught_class_is_answered_and_the_others_still_are(model: Path, yellow: bytes) -> None:
    assert share(yellow, "yellow", YELLOW) >= 0.9
    for label, colour in (("red", (1, 0, 0)), ("green", (0, 1, 0)), ("blue", (0, 0, 1))):
        assert share(yellow, label, colour) >= share(model, label, colour) - 0.03
    assert share(model, "yellow", YELLOW) == 0


def test_the_network_and_its_files_stay_as_they_are(model: Path, yellow: bytes) -> None:
    before, after = read_model(model), read_model(yellow)
    assert after.flatbuffer == before.flatbuffer
    assert after.contract.labels == ("red", "green", "blue", "yellow")
    assert after.contract.network_labels == before.contract.labels
    assert (after.contract.taught, after.contract.outputs) == (1, 3)
    kept = associated_files(yellow)
    assert kept.pop(TAUGHT_NAME)
    assert kept == associated_files(model.read_bytes())
    assert after.member("labels.txt", 1000) == b"red\ngreen\nblue\n", "other tools see the network alone"


def test_scores_sum_to_one_and_keep_the_ratios_of_the_networks_classes(model: Path, yellow: bytes) -> None:
    picture = colour_picture((0.6, 0.9, 0.1), 7)
    with Classifier(model) as old, Classifier(yellow) as new:
        before, after = old.scores(picture), new.scores(picture)
        assert new.interpret(new.run(picture)).tolist() == after.tolist()
        assert np.allclose(old.embed(picture), new.embed(picture))
    assert after.sum() == pytest.approx(1, abs=1e-5)
    kept = after[:3] / after[:3].sum()
    assert kept == pytest.approx(before / before.sum(), abs=1e-3)


def test_further_classes_are_added_and_each_can_be_forgotten(model: Path, yellow: bytes) -> None:
    lesson = teach(yellow, "magenta", pictures(MAGENTA, first=200))
    assert [label for label, _, _ in lesson.taught] == ["yellow", "magenta"]
    both = read_model(lesson.content)
    assert both.contract.labels[3:] == ("yellow", "magenta")
    assert share(lesson.content, "magenta", MAGENTA) >= 0.9
    assert share(lesson.content, "yellow", YELLOW) >= 0.9
    assert forget(lesson.content, "magenta") == yellow
    assert forget(yellow, "yellow") == model.read_bytes()


def test_pictures_are_added_only_where_that_is_said(yellow: bytes) -> None:
    with pytest.raises(TeachingError, match=r"'yellow' was taught already; give `add`"):
        teach(yellow, "yellow", pictures(YELLOW, first=300))
    lesson = teach(yellow, "yellow", pictures(YELLOW, 2, first=300), add=True)
    assert (lesson.pictures, lesson.copies) == (7, ())
    with pytest.raises(TeachingError, match=r"no taught class 'yelow' to add to; .*did you mean 'yellow'"):
        teach(yellow, "yelow", pictures(YELLOW), add=True)


def test_copies_of_a_picture_count_once(model: Path, yellow: bytes) -> None:
    given = pictures(YELLOW, 4)
    buffer = io.BytesIO()
    Image.fromarray(given[0][1]).resize((16, 16), Image.Resampling.NEAREST).save(buffer, "PNG")
    brighter = np.clip(given[1][1].astype(int) + 6, 0, 255).astype(np.uint8)
    lesson = teach(model, "yellow", [*given, ("again.png", buffer.getvalue()), ("brighter.png", brighter)])
    assert (lesson.pictures, lesson.copies) == (4, ("again.png", "brighter.png"))
    assert lesson.advice
    with pytest.raises(TeachingError, match=r"1 different picture \(2 more repeat it, such as 100.png\), expected"):
        teach(model, "yellow", given[:1] * 3)
    with pytest.raises(TeachingError, match=r"every picture repeats one that it was taught with, such as 100.png"):
        teach(yellow, "yellow", given, add=True)
    again = teach(yellow, "yellow", pictures(YELLOW, 6), add=True)
    assert (again.pictures, len(again.copies)) == (6, 5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_pictures_are_refused(model: Path, count: int) -> None:
    with pytest.raises(TeachingError, match=rf"'yellow': {count} different pictures?, expected at least 3; 5 or more"):
        teach(model, "yellow", pictures(YELLOW, count))


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("red", "'red' is a class that the network was trained for"),
        ("Red", "'Red' differs from the class 'red' in its spelling alone"),
        ("unknown", "'unknown' is the answer to pictures of no class"),
    ],
)
def test_a_label_that_cannot_be_is_refused(model: Path, label: str, problem: str) -> None:
    with pytest.raises(TeachingError, match=problem):
        teach(model, label, pictures(YELLOW))
    with pytest.raises(ContractError):
        teach(model, "two\nlines", pictures(YELLOW))


def test_pictures_that_contradict_are_refused(yellow: bytes) -> None:
    with pytest.raises(TeachingError, match=r"102.png: contradicts what was taught: .* of the class 'yellow'"):
        teach(yellow, "gold", [*pictures(CYAN, first=400), *pictures(YELLOW, 1, 102)])


def test_a_class_that_looks_like_another_is_refused(model: Path, yellow: bytes) -> None:
    with pytest.raises(TeachingError, match=r"'scarlet': its pictures resemble 'red' .* as much as one another"):
        teach(model, "scarlet", [*pictures((1, 0, 0), 3, 500), *pictures((1, 0.3, 0), 2, 600)])
    mixed = [*pictures((1, 0, 0), 2, 700), *pictures((0, 1, 0), 2, 800), *pictures((0, 0, 1), 2, 900)]
    with pytest.raises(TeachingError, match=r"'anything': its pictures"):
        teach(yellow, "anything", mixed)


def test_only_a_taught_class_can_be_forgotten(model: Path, yellow: bytes) -> None:
    with pytest.raises(TeachingError, match=r"'red' is a class that the network was trained for, and only taught"):
        forget(yellow, "red")
    with pytest.raises(TeachingError, match=r"no taught class 'yello'; .*did you mean 'yellow'"):
        forget(yellow, "yello")
    with pytest.raises(TeachingError, match=r"no taught class 'yellow'; .* has none"):
        forget(model, "yellow")


def test_a_model_without_an_embedding_is_refused(model: Path) -> None:
    file = read_model(model)
    without = seal(file.flatbuffer, file.contract)
    with pytest.raises(ModelFileError, match=r"holds nothing .* be taught with; export it again with `embedding`"):
        teach(without, "yellow", pictures(YELLOW))


def test_a_threshold_is_fitted_again_and_comes_back(model: Path) -> None:
    file = read_model(model)
    confidence = file.contract.confidence._replace(threshold=0.9)
    strict = seal(file.flatbuffer, replace(file.contract, confidence=confidence), associated_files(file.content))
    taught = teach(strict, "yellow", pictures(YELLOW)).content
    assert 0 < read_model(taught).contract.confidence.threshold <= 0.9
    assert share(taught, "yellow", YELLOW) >= 0.8
    assert forget(taught, "yellow") == strict


def damaged(content: bytes, member: str, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with a changed member, sealed again."""
    file, members = read_model(content), associated_files(content)
    document = json.loads(members[member])
    change(document)
    return seal(file.flatbuffer, file.contract, members | {member: json.dumps(document).encode()})


@pytest.mark.parametrize(
    ("member", "change"),
    [
        (TAUGHT_NAME, lambda d: d.update(version=2)),
        (TAUGHT_NAME, lambda d: d.update(bias=float("nan"))),
        (TAUGHT_NAME, lambda d: d.update(temperature=0.0)),
        (TAUGHT_NAME, lambda d: d["classes"].pop()),
        (TAUGHT_NAME, lambda d: d["classes"][0].update(label="gold")),
        (TAUGHT_NAME, lambda d: d["classes"][0]["embeddings"].update(shape=[5, 2])),
        (TAUGHT_NAME, lambda d: d["classes"][0]["embeddings"].update(values="!")),
        (REHEARSAL_NAME, lambda d: d.update(counts=[1, 1])),
        (REHEARSAL_NAME, lambda d: d.update(targets=[3] * 36)),
        (REHEARSAL_NAME, lambda d: d["mean"].update(shape=[2**40])),
        (REHEARSAL_NAME, lambda d: d.pop("prototypes")),
    ],
)
def test_a_member_that_was_changed_is_refused(
    yellow: bytes, member: str, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(ModelFileError, match=f"its {member} cannot be read"):
        Classifier(damaged(yellow, member, change))


def test_the_members_are_read_as_they_were_written(yellow: bytes) -> None:
    file = read_model(yellow)
    taught, rehearsal = read_taught(file), read_rehearsal(file)
    assert taught.to_json() == file.member(TAUGHT_NAME, 2**20)
    assert rehearsal.to_json() == file.member(REHEARSAL_NAME, 2**20)
    assert rehearsal.counts == (12, 12, 12)
    assert taught.bias >= 0
    assert MEMBER not in associated_files(yellow)


def test_a_taught_class_wins_exactly_above_the_bias() -> None:
    own = np.array([[0.7, 0.2, 0.1]], np.float32)
    assert combine(own, np.array([[0.11]]), 0.1, 0.05).argmax() == 3
    assert combine(own, np.array([[0.09]]), 0.1, 0.05).argmax() == 0
    assert np.isfinite(combine(own, np.array([[2.0]]), 0.0, 0.001)).all()


def test_info_shows_what_was_taught(yellow: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m2.tflite"
    path.write_bytes(yellow)
    found = inspect_model(path)
    assert found["embedding"] == 3
    assert found["taught"] == [{"label": "yellow", "pictures": 5, "recognized": 5}]
    result = invoke("info", path)
    assert "  taught    yellow: 5 pictures, leave-one-out 5 of 5" in result.stdout
    assert "  embedding 3 values" in result.stdout


def test_the_command_teaches_adds_and_forgets(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "yellow"
    folder.mkdir()
    for name, picture in pictures(YELLOW):
        Image.fromarray(picture).save(folder / name)
    out = tmp_path / "m2.tflite"
    result = invoke("teach", "yellow", folder, "--model", model, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "yellow: 5 pictures: leave-one-out 5 of 5"
    assert json.loads(invoke("classify", "--json", "--model", out, folder / "100.png").stdout)["predictions"][0] == {
        "label": "yellow",
        "score": pytest.approx(0.9, abs=0.11),
        "index": 3,
    }
    nothing_new = invoke("teach", "yellow", folder, "--add", "--model", out, "--out", out)
    assert nothing_new.exit_code == 1
    assert "every picture repeats one that it was taught with" in nothing_new.stderr
    Image.fromarray(colour_picture(YELLOW, 300)).save(folder / "300.png")
    again = invoke("teach", "yellow", folder, "--add", "--json", "--model", out, "--out", out)
    found = json.loads(again.stdout)
    assert (found["pictures"], len(found["copies"]), found["recognized"], found["label"]) == (6, 5, 6, "yellow")
    assert found["taught"] == [{"label": "yellow", "pictures": 6, "recognized": 6}]
    back = invoke("teach", "--forget", "yellow", "--json", "--model", out, "--out", tmp_path / "back.tflite")
    assert json.loads(back.stdout)["forgotten"] == "yellow"
    assert (tmp_path / "back.tflite").read_bytes() == model.read_bytes()


def test_mistakes_on_the_command_line_are_named(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m2.tflite"
    for words, status, problem in (
        (["yellow"], 2, "name the class, and pictures of it or a folder"),
        (["--forget", "yellow", "x.png"], 2, "--forget names the class itself"),
        (["yellow", tmp_path / "no.png"], 1, "no.png: cannot be opened"),
        (["red", tmp_path], 1, "'red' is a class that the network was trained for"),
    ):
        result = invoke("teach", *words, "--model", model, "--out", out)
        assert (result.exit_code, problem in result.output) == (status, True), result.output
        assert not out.exists()
