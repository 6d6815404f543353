"""Images with several labels, from a CSV file: what becomes of good rows and of bad ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from runtime import Contract
from tests.support.datasets import MARKS, draw_marks, write_marks
from trainer.config import TrainingConfig
from trainer.data import Dataset, Geometry, load_dataset
from trainer.data.relabel import choose_task, merge_classes
from trainer.data.sources import FileSource
from trainer.data.splits import make_splits
from trainer.data.summary import summarize
from trainer.errors import DatasetError
from trainer.evaluation.eval_set import from_dataset
from trainer.session import prepare_session


def load(file: Path) -> Dataset:
    return load_dataset(str(file), Geometry())


def added(file: Path, *rows: str) -> Path:
    with file.open("a") as opened:
        opened.writelines(f"{row}\n" for row in rows)
    return file


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The CSV of 30 pictures; the next line of it is the 32nd."""
    return write_marks(tmp_path / "marks", 30)


def test_targets_follow_the_rows(marks_csv: Path) -> None:
    data = load(marks_csv)
    assert (data.task, data.name, data.labels) == ("multilabel", "labels", tuple(MARKS))
    assert (data.targets.shape, data.targets.dtype) == ((300, 3), np.uint8)
    assert data.input.shape == (12, 12, 1)
    rows = [line.split(",") for line in marks_csv.read_text().splitlines()[1:]]
    assert isinstance(data.source, FileSource)
    for path, target, (wanted, labels) in zip(data.source.paths, data.targets, rows, strict=True):
        assert path == wanted
        there = [label for label, mark in zip(data.labels, target, strict=True) if mark]
        assert there == [*filter(None, labels.split(";"))]
    assert (data.targets.sum(axis=1) == 0).any()
    splits = make_splits(data.targets, data.labels, data.given, 0)
    assert all(data.targets[indices].any(axis=0).all() for _, indices in splits.items())


def test_bad_files_are_left_out_with_their_line(small: Path) -> None:
    (small.parent / "broken.png").write_bytes(b"\x89PNG\r\n broken")
    shutil.copy(small.parent / "pictures/0.png", small.parent / "copy.png")
    shutil.copy(small.parent / "pictures/1.png", small.parent / "other.png")
    copied = small.read_text().splitlines()[1].partition(",")[2]
    added(small, "absent.png,bar", "broken.png,", f"copy.png,{copied}", "other.png,bar;dot;line", "pictures/2.png,x;y")
    text = small.read_text()
    third = text.splitlines()[3]
    small.write_text(text.replace("pictures/2.png,x;y", third))
    data = load(small)
    assert len(data.targets) == 30
    told = "\n".join(data.left_out)
    for line, reason in (
        (32, "absent.png: cannot be opened: No such file or directory; correct the path or take the line out"),
        (33, "broken.png"),
        (34, "copy.png is the same image as in line 2"),
        (35, "other.png is the same image as in line 3, with other labels"),
        (36, "pictures/2.png stands in line 4 already"),
    ):
        (found,) = (entry for entry in data.left_out if f"line {line}: " in entry)
        assert reason in found, told
    assert len(data.left_out) == 5
    assert data.copied == 3
    assert "with other labels" not in next(entry for entry in data.left_out if "line 34" in entry)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["pictures/0.png,fox"], "line 32: pictures/0.png has other labels"),
        (["../marks/pictures/0.png,bar"], "line 32: .* leads out"),
        ([f"{n}.png," for n in range(40)], "40 of 70 images cannot be used; paths are relative to its folder"),
        (["link.png,bar"], "line 32: link.png is a link out of the file's folder"),
    ],
)
def test_a_row_that_cannot_be_is_refused(rows: list[str], reason: str, small: Path) -> None:
    draw_marks(["bar"], 998).save(small.parent.parent / "outside.png")
    (small.parent / "link.png").symlink_to(small.parent.parent / "outside.png")
    with pytest.raises(DatasetError, match=reason):
        load(added(small, *rows))


def test_given_splits_are_kept_and_the_test_copy_stays(small: Path) -> None:
    lines = small.read_text().splitlines()
    names = ["split", *("test" if n % 3 == 0 else "val" if n % 3 == 1 else "train" for n in range(30))]
    shutil.copy(small.parent / "pictures/2.png", small.parent / "tested.png")
    rows = [f"{line},{name}" for line, name in zip(lines, names, strict=True)]
    labels = lines[3].partition(",")[2]
    small.write_text("\n".join([*rows, f"tested.png,{labels},test"]) + "\n")
    data = load(small)
    assert {name: len(indices) for name, indices in data.given.items()} == {"train": 9, "validation": 10, "test": 11}
    assert len(data.left_out) == 1
    assert "line 4: pictures/2.png is the same image as in line 32" in data.left_out[0]
    small.write_text("\n".join([*rows[:1], *(row.replace(",train", ",val") for row in rows[1:])]) + "\n")
    untrained = load(small)
    with pytest.raises(DatasetError, match="no usable image is in the train split, only in test and validation"):
        make_splits(untrained.targets, untrained.labels, untrained.given, 0)


def contract_for(data: Dataset) -> Contract:
    return Contract(data.labels, data.input, data.task)


def test_what_is_only_measured_needs_no_train_split(small: Path) -> None:
    rows = small.read_text().splitlines()
    small.write_text("\n".join([f"{rows[0]},split", *(f"{row},test" for row in rows[1:])]) + "\n")
    data = load(small)
    assert len(from_dataset(data, contract_for(data), "all", 0, "model").chosen) == 30
    with pytest.raises(DatasetError, match=r"only in test; a training needs .*`split=all`"):
        from_dataset(data, contract_for(data), "test", 0, "model")
    with pytest.raises(DatasetError, match="only in test; a training needs some there"):
        prepare_session(data, TrainingConfig("dense", units=(4,), epochs=1))


@pytest.mark.parametrize("usable", [0, 1])
def test_a_rare_label_is_refused_by_a_training_alone(usable: int, small: Path) -> None:
    if usable:
        draw_marks(["bar"], 999).save(small.parent / "new.png")
    data = load(added(small, "new.png,fox"))
    assert data.labels == ("bar", "dot", "fox", "line")
    assert data.targets[:, 2].sum() == usable
    assert len(from_dataset(data, contract_for(data), "all", 0, "model").chosen) == 30 + usable
    with pytest.raises(
        DatasetError, match=rf"label 'fox' has no usable image in the \w+ split, and {usable} in all; .*`merge`"
    ):
        prepare_session(data, TrainingConfig("dense", units=(4,), epochs=1))
    merged = merge_classes(data, ["fox,bar=beast"])
    assert merged.left_out == data.left_out
    splits = make_splits(merged.targets, merged.labels, merged.given, 0)
    assert all(merged.targets[indices].any(axis=0).all() for _, indices in splits.items())


def test_copies_are_counted_whatever_the_labels_become(small: Path) -> None:
    shutil.copy(small.parent / "pictures/1.png", small.parent / "copy.png")
    line = small.read_text().splitlines()[2]
    (small.parent / "broken.png").write_bytes(b"no image")
    data = load(added(small, "copy.png," + line.partition(",")[2], line, "broken.png,bar"))
    assert len(data.left_out) == 3
    assert data.copied == 2
    assert summarize(data, 0).copied_files == 2
    assert merge_classes(data, ["dot,bar=mark"]).copied == choose_task(data, None, "bar").copied == 2


def test_a_file_whose_name_no_contract_takes(small: Path) -> None:
    file = small.rename(small.with_name("Meine\xa0Bilder.csv"))
    with pytest.raises(DatasetError, match=r"is called 'Meine\\xa0Bilder', .*; rename the file"):
        load(file)


def test_no_labels_and_one_label(small: Path) -> None:
    lines = small.read_text().splitlines()
    small.write_text("\n".join(line.partition(",")[0] + "," for line in lines[1:]) + "\n")
    with pytest.raises(DatasetError, match="no image has a label"):
        load(small)
    small.write_text("\n".join(line.partition(",")[0] + "," + "bar" * ("bar" in line) for line in lines[1:]) + "\n")
    data = load(small)
    with pytest.raises(DatasetError, match="'bar' is the only label; tell it from its absence with `positive=bar`"):
        choose_task(data)
    chosen = choose_task(data, None, "bar")
    assert (chosen.task, chosen.labels) == ("binary", ("not bar", "bar"))


def test_missing_files_are_named_before_labels_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "marks.csv"
    file.write_text("path,labels\n" + "".join(f"photos/{number}.jpg,\n" for number in range(3)))
    with pytest.raises(
        DatasetError, match=r"3 of 3 images cannot be used.*The first: line 2, .*photos/0\.jpg is missing"
    ):
        load(file)


def test_one_label_for_each_image_makes_classes(tmp_path: Path) -> None:
    lines = ["path,label"]
    for number in range(12):
        draw_marks([list(MARKS)[number % 3]], number).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{list(MARKS)[number % 3]}")
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(lines))
    data = load_dataset(str(file))
    assert (data.task, data.labels, data.targets.dtype) == ("multiclass", tuple(MARKS), np.int32)
    assert data.targets.tolist() == [0, 1, 2] * 4
    (note,) = data.notes
    assert (
        note == f"{file}: every image has one label, so that they are classes; `task=multilabel` takes them for labels"
    )
    several = choose_task(data, "multilabel")
    assert (several.task, several.notes, several.targets.dtype) == ("multilabel", (), np.uint8)
    np.testing.assert_array_equal(several.targets, np.eye(3, dtype=np.uint8)[data.targets])
    assert choose_task(data, positive="dot").labels == ("not dot", "dot")
    file.write_text("\n".join([*lines[:-1], f"{lines[-1]};bar"]))
    assert (load_dataset(str(file)).task, load_dataset(str(file)).notes) == ("multilabel", ())
