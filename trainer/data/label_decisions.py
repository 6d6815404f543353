"""Decisions about labels in a CSV file, carried out in a folder of images: files move to another class, or out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from runtime.files import read_regular_file, shown
from runtime.recognition import suggestion

from ..errors import DatasetError
from .folder_layout import FolderLayout, arrange

#: What a decision may be besides the name of a class.
SUGGESTED, KEEP, REMOVE = "suggested", "keep", "remove"
_NEEDED = ("file", "label", "suggested", "decision")
_MAX_BYTES = 2**28
_TEST = "test"


class Move(NamedTuple):
    """A file that moves.

    Attributes:
        source, target: absolute paths; they are on one file system.
        label: the class that it moves to; "" where it is taken out of the data set.
    """

    source: Path
    target: Path
    label: str


class LabelDecisions(NamedTuple):
    """What a CSV file asks for.

    Attributes:
        moves: what is to be done, in the order of the file.
        kept: rows that leave a file where it is.
        done: rows whose file is no longer in its place, as an earlier call has moved it.
    """

    moves: tuple[Move, ...]
    kept: int
    done: int


def read_decisions(path: Path, root: Path) -> LabelDecisions:
    """Read a CSV file as `data errors` writes it, with the column `decision` filled in; nothing is moved yet.

    A decision is the name of a class, `suggested`, `remove`, or `keep`, which nothing at all means too. Files that are
    removed lie in `ROOT-removed` afterwards, in their class folders.

    Args:
        path: the CSV file.
        root: the folder of images.

    Raises:
        DatasetError: the file is no such CSV, a decision names no class, or a row names a file that is not in the class
            folder of its label or is in the test split.
    """
    layout = arrange(root)
    moves, kept, done = list[Move](), 0, 0
    taken: set[Path] = set()
    for line, row in _rows(path):
        where, decision = f"{shown(path)}:{line}", row["decision"].strip()
        label = row["suggested"] if decision == SUGGESTED else decision
        if label in ("", KEEP, row["label"]):
            kept += 1
            continue
        parent = _parent_of(layout, row, where)
        source = root / row["file"]
        if not source.is_file():
            done += 1
            continue
        if label == REMOVE:
            target, label = root.with_name(f"{root.name}-removed") / row["label"] / source.name, ""
        else:
            target = _class_folder(parent, label, where) / source.name
        target = _free(target, row["label"], taken)
        taken.add(target)
        moves.append(Move(source, target, label))
    return LabelDecisions(tuple(moves), kept, done)


def carry_out(decisions: LabelDecisions) -> None:
    """Move the files, each by one rename; a second call after a kill does the rest.

    Raises:
        OSError: a file cannot be moved.
    """
    for move in decisions.moves:
        move.target.parent.mkdir(parents=True, exist_ok=True)
        move.source.rename(move.target)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows with a file, and their lines."""
    content, name = read_regular_file(path, _MAX_BYTES, DatasetError)
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline=""), strict=True)
        absent = [column for column in _NEEDED if column not in (reader.fieldnames or ())]
        if absent:
            raise DatasetError(f"{name}: no column {absent[0]!r}; expected a list that `pocketlens data errors` wrote")
        for row in reader:
            cells = {column: row[column] or "" for column in _NEEDED}
            if cells["file"]:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DatasetError(f"{name}: no CSV: {error}; correct its quotes") from error


def _parent_of(layout: FolderLayout, row: Mapping[str, str], where: str) -> Path:
    """The folder around the class folder that a row's file lies in."""
    file = PurePosixPath(row["file"])
    if file.is_absolute() or ".." in file.parts:
        raise DatasetError(f"{where}: file {shown(row['file'])!r} leads out of {shown(layout.root)}")
    place = layout.root / file
    for parent, split in layout.parents.items():
        if place.is_relative_to(parent / row["label"]):
            if split == _TEST:
                raise DatasetError(f"{where}: {shown(row['file'])} is in the test split, which is left as it is")
            return parent
    raise DatasetError(
        f"{where}: {shown(row['file'])} is in no class folder {shown(row['label'])!r} of {shown(layout.root)}; name "
        "the folder that the run was trained on with `dataset`"
    )


def _class_folder(parent: Path, label: str, where: str) -> Path:
    folder = parent / label
    names = sorted(path.name for path in parent.iterdir() if path.is_dir())
    if label not in names:
        raise DatasetError(
            f"{where}: decision {shown(label)!r}, expected a class, {SUGGESTED}, {REMOVE} or {KEEP}"
            f"{suggestion(label, [*names, SUGGESTED, REMOVE, KEEP])}"
        )
    return folder


def _free(target: Path, old: str, taken: set[Path]) -> Path:
    """The target, or a name beside it that no file has: names such as 1.jpg are in every class."""
    tries = [target, target.with_name(f"{target.stem}-from-{old}{target.suffix}")]
    tries += [target.with_name(f"{target.stem}-from-{old}-{number}{target.suffix}") for number in range(2, 1000)]
    return next(path for path in tries if path not in taken and not path.exists())
