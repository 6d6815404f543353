"""`pocketlens data correct`: decisions in the list of `data errors` move files, and never lose one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.support.commands import answer, invoke
from trainer.evaluation.label_suspects import COLUMNS

pytestmark = pytest.mark.fast


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Files whose content is their first place, in train and test folders; the names are the same in each class."""
    for split in ("train", "test"):
        for label in ("cat", "dog", "fox"):
            folder = tmp_path / "pets" / split / label
            folder.mkdir(parents=True)
            for number in range(4):
                (folder / f"{number}.jpg").write_text(f"{split}/{label}/{number}")
    return tmp_path / "pets"


def write_list(path: Path, *rows: tuple[str, str, str]) -> Path:
    """A list of (file, suggested, decision); the label is that of the file's folder."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for rank, (name, suggested, decision) in enumerate(rows, start=1):
            writer.writerow([rank, rank, name, "train", Path(name).parent.name, suggested, 0.1, 0.9, decision])
    return path


def contents(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*.jpg"))}


def test_files_move_as_decided_and_a_second_call_changes_nothing(pets: Path, tmp_path: Path) -> None:
    table = write_list(
        tmp_path / "errors.csv",
        ("train/cat/0.jpg", "dog", "suggested"),
        ("train/fox/0.jpg", "cat", "dog"),
        ("train/cat/1.jpg", "dog", "remove"),
        ("train/cat/2.jpg", "dog", ""),
        ("train/cat/3.jpg", "dog", "keep"),
    )
    before = contents(tmp_path)
    command = ("data", "correct", table, "--dataset", pets)
    lines = answer(*command, "--dry-run").splitlines()
    assert lines[0] == f"{pets}/train/cat/0.jpg -> {pets}/train/dog/0-from-cat.jpg"
    assert contents(tmp_path) == before

    found = json.loads(answer(*command, "--json"))
    assert (len(found["moves"]), found["kept"], found["done"]) == (3, 2, 0)
    after = contents(tmp_path)
    assert sorted(after.values()) == sorted(before.values()), "no picture is lost"
    assert after["pets/train/dog/0-from-cat.jpg"] == "train/cat/0"
    assert after["pets/train/dog/0-from-fox.jpg"] == "train/fox/0"
    assert after["pets-removed/cat/1.jpg"] == "train/cat/1"
    assert after["pets/train/dog/0.jpg"] == "train/dog/0"
    assert answer(*command).splitlines() == [
        f"{pets}: 0 moved to another class, 0 removed, 2 kept, 3 done before",
    ]
    assert contents(tmp_path) == after


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("train/cat/0.jpg", "dog", "dgo"), ":3: decision 'dgo', expected a class, suggested, remove or keep; did you"),
        (("test/cat/0.jpg", "dog", "dog"), "is in the test split"),
        (("../cat/0.jpg", "dog", "dog"), "leads out of"),
        (("photos/cat/0.jpg", "dog", "dog"), "--dataset"),
    ],
)
def test_a_wrong_row_is_named_before_anything_moves(
    row: tuple[str, str, str], words: str, pets: Path, tmp_path: Path
) -> None:
    table = write_list(tmp_path / "errors.csv", ("train/cat/1.jpg", "dog", "dog"), row)
    before = contents(tmp_path)
    result = invoke("data", "correct", table, "--dataset", pets)
    assert result.exit_code == 1
    assert words in result.stderr.splitlines()[-1]
    assert contents(tmp_path) == before


def test_another_csv_and_a_missing_folder_are_refused(pets: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("path,label\na,b\n")
    assert "no column 'file'" in invoke("data", "correct", other, "--dataset", pets).stderr
    result = invoke("data", "correct", other)
    assert result.exit_code == 2
    assert "--dataset" in result.stderr
