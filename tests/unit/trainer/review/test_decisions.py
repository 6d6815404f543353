"""Decisions: each carried out exactly once, whenever the process is killed, and taken back by undo."""

from __future__ import annotations

import csv
import json
import os
from functools import partial
from pathlib import Path

import pytest

from tests.support.kills import killed_at_each_change
from tests.support.review import keep, make_dataset, picture_of
from trainer.data.folder_layout import arrange
from trainer.errors import DatasetError
from trainer.review import decisions as module
from trainer.review.class_folders import ClassFolders, ReviewError
from trainer.review.decisions import LABEL, NONE, SKIP, Decisions
from trainer.review.note import Note

pytestmark = pytest.mark.fast

NOTE = Note("door", 1_764_172_800.0, "uncertain", "ab" * 32, {"dog": 0.6, "cat": 0.4}, "pi@door:/x/1.jpg")


def rows(dataset: Path) -> list[dict[str, str]]:
    place = dataset / "SOURCES.csv"
    if not place.exists():
        return []
    with place.open(newline="") as file:
        return list(csv.DictReader(file))


def added(dataset: Path) -> list[str]:
    """The pictures that came into a data set, without those of `make_dataset`."""
    return sorted(path.relative_to(dataset).as_posix() for path in dataset.rglob("*.jpg") if not path.stem.isdecimal())


@pytest.fixture
def review(tmp_path: Path) -> Path:
    for number in range(4):
        keep(tmp_path / "review", number)
    make_dataset(tmp_path / "pets")
    return tmp_path / "review"


def opened(folder: Path, random_to: str = "train") -> Decisions:
    return Decisions(folder, ClassFolders(folder.parent / "pets", random_to))


FIRST, SECOND = "20260000-uncertain.jpg", "20260001-uncertain.jpg"


def test_a_labelled_picture_is_in_its_class_folder_with_its_origin(review: Path) -> None:
    pets = review.parent / "pets"
    opened(review).decide(LABEL, FIRST, NOTE, label="cat", guess="dog", copies=[SECOND])
    (name,) = added(pets)
    assert name.startswith("train/cat/20260000-uncertain-")
    assert (pets / name).read_bytes() == (review / FIRST).read_bytes()
    (row,) = rows(pets)
    assert row.pop("reviewed").startswith("20")
    assert row.pop("sha256").startswith(name[-16:-4])
    assert row == {
        "file": name,
        "label": "cat",
        "guess": "dog",
        "score": "0.6000",
        "reason": "uncertain",
        "device": "door",
        "time": "2025-11-26T16:00:00Z",
        "model": "ab" * 32,
        "source": "pi@door:/x/1.jpg",
    }
    again = opened(review)
    assert [one.files for one in again.made] == [(FIRST, SECOND)]
    assert added(pets) == [name]
    assert again.undo() is not None
    assert (added(pets), rows(pets), opened(review).made) == ([], [], [])
    assert (pets / "SOURCES.csv").read_text().count("\n") == 1
    assert arrange(pets).parents, "the data set can still be read"


def test_random_ones_go_where_the_user_says_and_others_never_into_test(review: Path) -> None:
    decisions = opened(review, "test")
    decisions.decide(LABEL, FIRST, NOTE._replace(reason="random"), label="cat")
    decisions.decide(LABEL, SECOND, NOTE, label="cat")
    assert [name.rpartition("/")[0] for name in added(review.parent / "pets")] == ["test/cat", "train/cat"]
    other = opened(review)
    other.decide(LABEL, "20260002-uncertain.jpg", NOTE._replace(reason="random"), label="dog")
    assert [name.rpartition("/")[0] for name in added(review.parent / "pets")][2:] == ["train/dog"]


def test_none_of_these_lie_outside_of_the_classes(review: Path) -> None:
    decisions = opened(review)
    decisions.decide(NONE, FIRST, NOTE)
    decisions.decide(SKIP, SECOND, NOTE)
    assert added(review.parent / "pets") == []
    assert len(list((review / "none-of-these").iterdir())) == 1
    assert [one.action for one in opened(review).made] == [NONE, SKIP]
    decisions.undo()
    decisions.undo()
    assert decisions.undo() is None
    assert list((review / "none-of-these").iterdir()) == []


@pytest.mark.parametrize("label", ["../../etc", "", "bird", "cat/..", "CAT", "\x00", "a" * 10_000])
def test_a_label_that_is_no_class_makes_nothing(label: str, review: Path) -> None:
    before = sorted(review.parent.rglob("*"))
    with pytest.raises(ReviewError, match="is no class of"):
        opened(review).decide(LABEL, FIRST, NOTE, label=label)
    assert sorted(review.parent.rglob("*")) == before


def test_what_the_user_has_changed_is_left_alone_by_undo(review: Path) -> None:
    pets = review.parent / "pets"
    decisions = opened(review)
    decisions.decide(LABEL, FIRST, NOTE, label="cat")
    (name,) = added(pets)
    (pets / name).write_bytes(picture_of(77))
    decisions.undo()
    assert (pets / name).read_bytes() == picture_of(77)
    decisions.decide(LABEL, SECOND, NOTE, label="cat")
    (pets / added(pets)[-1]).unlink()
    opened(review)
    assert added(pets) == [name], "a picture that was deleted has come back"


def test_a_picture_that_was_there_before_stays_there(review: Path) -> None:
    pets = review.parent / "pets"
    opened(review).decide(LABEL, FIRST, NOTE, label="cat")
    (review / "decisions.jsonl").unlink()
    other = opened(review)
    other.decide(LABEL, FIRST, NOTE, label="cat")
    assert len(rows(pets)) == 1
    other.undo()
    assert len(added(pets)) == len(rows(pets)) == 1


def test_without_room_nothing_is_half_done(review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    decisions = opened(review)
    for name in ("put", "add_source"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(OSError, match="No space"):
                decisions.decide(LABEL, FIRST, NOTE, label="cat")
        assert (added(review.parent / "pets"), decisions.made) == ([], [])
    decisions.decide(LABEL, FIRST, NOTE, label="dog")
    assert [name.split("/")[1] for name in added(review.parent / "pets")] == ["dog"]
    assert len(opened(review).made) == 1


def _prepare(folder: Path) -> None:
    for number in range(3):
        keep(folder / "review", number)
    make_dataset(folder / "pets")
    opened(folder / "review").decide(LABEL, "20260002-uncertain.jpg", NOTE, label="dog")


def _work(folder: Path) -> None:
    decisions = opened(folder / "review")
    decisions.decide(LABEL, FIRST, NOTE, label="cat")
    decisions.undo()
    decisions.decide(NONE, SECOND, NOTE)
    decisions.decide(LABEL, FIRST, NOTE, label="dog")


def check_after_a_kill(folder: Path) -> None:
    """What is decided, what lies in the data set and what its list says are one."""
    decisions = opened(folder / "review")
    labelled = {one.file: one.label for one in decisions.made if one.action == LABEL}
    pets = folder / "pets"
    names = added(pets)
    assert {(name.rpartition("/")[2][:18] + ".jpg", name.split("/")[1]) for name in names} == set(labelled.items())
    assert sorted(row["file"] for row in rows(pets)) == names
    none = [one.file for one in decisions.made if one.action == NONE]
    assert len(list((folder / "review" / "none-of-these").glob("*.jpg"))) == len(none)
    assert [path for path in pets.rglob("*") if ".partial" in path.name and path.suffix == ".jpg"] == []
    state = {path: path.read_bytes() for path in pets.rglob("*") if path.is_file()}
    opened(folder / "review")
    assert state == {path: path.read_bytes() for path in pets.rglob("*") if path.is_file()}


def test_a_kill_at_any_change_of_a_file_leaves_each_decision_once_or_not_at_all(tmp_path: Path) -> None:
    for folder in killed_at_each_change(tmp_path, _prepare, _work):
        check_after_a_kill(folder)


def test_decisions_of_a_stranger_write_nothing_elsewhere(review: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = {"number": 1, "action": "label", "file": FIRST, "copies": [], "label": "cat", "sha256": "0" * 64}
    hostile: list[object] = [
        {**line, "root": str(review.parent), "path": "evil.jpg"},
        {**line, "root": str(review.parent / "pets"), "path": "../evil.jpg"},
        {**line, "file": "../../etc/passwd", "root": str(review.parent / "pets"), "path": "train/cat/evil.jpg"},
        *({"undo": 7, "number": "x"}, {"done": []}, [1], {"action": "label"}, None, {"number": 10**400}),
    ]
    (review / "decisions.jsonl").write_text("\n".join(map(json.dumps, hostile)) + "\nno json\n" + "[" * 100_000 + "\n{")
    before = sorted(os.walk(review.parent))
    decisions = opened(review)
    assert sorted(os.walk(review.parent)) == before
    decisions.decide(LABEL, SECOND, NOTE, label="cat")
    assert len(added(review.parent / "pets")) == 1
    assert "is not understood" in caplog.text


def test_data_sets(tmp_path: Path) -> None:
    flat = make_dataset(tmp_path / "flat", splits=())
    assert not ClassFolders(flat).has_splits
    assert ClassFolders(flat).place_of("cat", "x.jpg", is_random=True) == "cat/x.jpg"
    with pytest.raises(DatasetError, match="no folder for the split test; make flat/test"):
        ClassFolders(flat, "test")
    for problem in (partial(ClassFolders, tmp_path / "missing"), partial(ClassFolders, flat / "cat")):
        with pytest.raises(DatasetError):
            problem()
    named = make_dataset(tmp_path / "named", splits=("training_set", "seg_test"))
    assert ClassFolders(named, "test").place_of("dog", "x.jpg", is_random=True) == "seg_test/dog/x.jpg"
