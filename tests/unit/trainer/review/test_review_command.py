"""`pocketlens review` as a command: what it says, what it refuses in one line, and how it ends."""

from __future__ import annotations

import fcntl
import json
import signal
import urllib.request
from pathlib import Path

import pytest

from runtime import ContractError
from runtime.testing import FakeInterpreter
from tests.e2e.test_review_at_scale import review_process
from tests.support.commands import call_pocketlens
from tests.support.review import keep, make_dataset
from tests.unit.trainer.review.test_decisions import added, rows
from trainer.cli import review as command
from trainer.review.collection import LOCK_NAME

pytestmark = pytest.mark.fast


@pytest.fixture
def review(tmp_path: Path) -> Path:
    keep(tmp_path / "review", 1)
    keep(tmp_path / "review", 2, kind="random")
    make_dataset(tmp_path / "pets")
    make_dataset(tmp_path / "flat", splits=())
    (tmp_path / "empty").mkdir()
    return tmp_path / "review"


@pytest.mark.parametrize(
    ("folder", "dataset", "options", "problem"),
    [
        ("missing", "pets", (), "missing: no such folder; collect pictures into it first"),
        ("empty", "pets", (), "empty: no pictures; collect some into it first"),
        ("review", "missing", (), "missing: no such folder"),
        ("review", "empty", (), "empty: no class folders; make a folder for each class"),
        ("review", "flat", ("--random-to", "test"), "no folder for the split test; make flat/test with a folder for"),
        ("pets", "pets", (), "one of it and the data set lies in the other"),
        ("review", "pets", ("--model", "missing.tflite"), "missing.tflite: cannot be opened"),
    ],
)
def test_what_cannot_be_reviewed_is_one_line(
    folder: str, dataset: str, options: tuple[str, ...], problem: str, review: Path
) -> None:
    root = review.parent
    result = call_pocketlens("review", root / folder, "--dataset", root / dataset, "--no-browser", *options)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (root / folder / LOCK_NAME).exists()


def test_a_folder_that_is_open_elsewhere_is_refused(review: Path) -> None:
    with (review / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = call_pocketlens("review", review, "--dataset", review.parent / "pets", "--no-browser")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"{review}: another process has this review folder open" in result.stderr


def test_it_answers_until_it_is_killed_and_the_next_start_goes_on(review: Path) -> None:
    pets = review.parent / "pets"
    for ending, label in ((signal.SIGKILL, "cat"), (signal.SIGTERM, "dog")):
        with review_process(review, pets, "--random-to", "test") as (process, url):
            address, _, token = url.partition("/#token=")
            place = 0 if label == "cat" else 1
            body = json.dumps({"picture": place, "action": "label", "label": label}).encode()
            request = urllib.request.Request(f"{address}/v1/decisions", body, {"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert json.load(answer)["decided"] == place + 1
            process.send_signal(ending)
            out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out)["labelled"] == {"cat": 1, "dog": 1}
    assert [name.rpartition("/")[0] for name in added(pets)] == ["test/dog", "train/cat"]
    assert [row["reason"] for row in rows(pets)] == ["uncertain", "random"]
    assert not (review / LOCK_NAME).exists()


def test_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    for has_splits, random_to, said in (
        (True, "train", []),
        (True, "test", ["pictures of the random share go to the test split, all others to train"]),
        (False, "train", ["note: without the folders train/ and test/"]),
    ):
        command._announce("http://127.0.0.1:1/#token=x", has_splits, random_to, False)
        first, *rest = capsys.readouterr().out.splitlines()
        assert first == "review at http://127.0.0.1:1/#token=x"
        assert len(rest) == len(said)
        assert all(line.startswith(start) for line, start in zip(rest, said, strict=True))
    summary = {
        "labelled": {"cat": 1200},
        "copies": 1,
        "none": 2,
        "skipped": 3,
        "unreadable": 4,
        "left": 5,
        "pictures": 6,
    }
    command._print_summary(summary, False)
    assert capsys.readouterr().out.splitlines() == [
        "labelled: 1,200 (1,200 cat)",
        "none of these: 2, skipped: 3, near copies: 1, cannot be read: 4, left: 5",
    ]


def test_a_model_must_know_a_class_and_take_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = {
        "birds": FakeInterpreter(["gull", "finch"], [[0.9, 0.1]]),
        "plants": FakeInterpreter(["cat", "dog"], [[0.9, 0.1]], features=("moisture", "light")),
        "pets": FakeInterpreter(["cat", "mouse"], [[0.9, 0.1]]),
    }
    monkeypatch.setattr("runtime.Classifier", lambda name: fakes[name].classifier())
    assert command._classifier("pets", ["cat", "dog"]) is not None
    for name, problem in (("birds", "are none of the classes"), ("plants", "review shows pictures")):
        with pytest.raises(ContractError, match=problem):
            command._classifier(name, ["cat", "dog"])
