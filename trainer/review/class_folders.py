"""The class folders of a data set, into which labelled pictures go, and `SOURCES.csv`, which says whence they came."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime import PocketlensError
from runtime.files import shown, sync_folder, write_whole
from runtime.image_limits import MAX_IMAGE_BYTES

from ..data.folder_layout import arrange, subfolders
from ..errors import DatasetError

SOURCES_NAME = "SOURCES.csv"
#: Its columns; `file` is the path within the data set.
SOURCES_COLUMNS = (
    *("file", "label", "guess", "score", "reason", "device", "time", "model", "source", "sha256", "reviewed"),
)
TRAIN, TEST = "train", "test"


class ReviewError(PocketlensError, OSError):
    """Pictures cannot be reviewed: the folder has none or is in use, or a decision cannot be carried out."""


class ClassFolders:
    """The class folders of a data set of images.

    Args:
        root: the data set's folder: class folders, or train/ and test/ with class folders in them.
        random_to: the split that pictures of the random share go to: `"train"` or `"test"`.

    Attributes:
        root: its absolute path.
        classes: the names of the classes, sorted.
        has_splits: whether the data set has folders for its splits.

    Raises:
        DatasetError: it is no folder of classes, or has no folder for a split that is needed.
    """

    def __init__(self, root: Path, random_to: str = TRAIN) -> None:
        layout = arrange(root)
        self.root = root.resolve()
        self._parents = {split or TRAIN: parent for parent, split in layout.parents.items()}
        self.classes = sorted({folder.name for folder, _ in layout.class_folders()})
        self.has_splits = "" not in layout.parents.values()
        self._random_to = random_to
        if not self.classes:
            raise DatasetError(
                f"{shown(root)}: no class folders; make a folder for each class, such as {root.name}/cat"
            )
        for split in {TRAIN, random_to} - set(self._parents):
            raise DatasetError(
                f"{shown(root)}: no folder for the split {split}; make {root.name}/{split} with a folder for each "
                "class, or choose another with `random_to`"
            )

    def place_of(self, label: str, name: str, *, is_random: bool) -> str:
        """The path within the data set of a picture with a label.

        Raises:
            ReviewError: the label is no class.
        """
        if label not in self.classes:
            raise ReviewError(
                f"{shown(label[:80])!r} is no class of {shown(self.root)}; make a folder of that name first"
            )
        parent = self._parents[self._random_to if is_random else TRAIN]
        return (parent / label / name).relative_to(parent.parent if self.has_splits else parent).as_posix()

    def pictures(self) -> list[Path]:
        """The pictures in all class folders but those of the test split, in an even order."""
        folders = [folder for split, parent in self._parents.items() if split != TEST for folder in subfolders(parent)]
        return [
            Path(parent) / name for folder in folders for parent, _, names in os.walk(folder) for name in sorted(names)
        ]


def put(root: Path, path: str, content: bytes) -> None:
    """Write a picture into a data set; it is on the disk when this returns.

    Raises:
        OSError: it cannot be written; nothing is half-done.
    """
    write_whole(root / path, content, durable=True)


def take_out(root: Path, path: str, digest: str) -> None:
    """Remove a picture that was put into a data set, unless it is gone or has another content by now."""
    place = root / path
    if not place.is_file() or place.stat().st_size > MAX_IMAGE_BYTES:
        return
    if hashlib.sha256(place.read_bytes()).hexdigest() == digest:
        place.unlink()
        sync_folder(place.parent)


def add_source(root: Path, row: Mapping[str, object], *, is_new: bool) -> None:
    """Add a row to `SOURCES.csv`.

    Args:
        row: a value for each column.
        is_new: whether it cannot be there yet; otherwise it is looked for, and a last line that was cut off is removed.
    """
    place = root / SOURCES_NAME
    line = _csv([[row.get(column, "") for column in SOURCES_COLUMNS]])
    if not place.exists():
        write_whole(place, _csv([SOURCES_COLUMNS]) + line, durable=True)
        return
    if not is_new:
        content = place.read_bytes()
        content = content[: content.rfind(b"\n") + 1]
        if not any(found.startswith(_start_of(str(row["file"]))) for found in content.splitlines()):
            write_whole(place, content + line, durable=True)
        return
    with place.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def remove_source(root: Path, path: str) -> None:
    """Remove the row of a file from `SOURCES.csv`; other lines stay as they are."""
    place = root / SOURCES_NAME
    if not place.exists():
        return
    start = _start_of(path)
    lines = place.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(start)]
    if len(kept) < len(lines):
        write_whole(place, b"".join(kept), durable=True)


def _start_of(path: str) -> bytes:
    """What the row of a file begins with."""
    return _csv([[path]]).strip() + b","


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode(errors="surrogateescape")
