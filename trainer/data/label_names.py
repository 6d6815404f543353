"""Names that a contract will hold: told to be wrong before an image is read, rather than after all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime.contract import MAX_LABELS
from runtime.files import shown
from runtime.input_spec import MAX_LABEL_LENGTH, is_printable

from ..errors import DatasetError

_WANTED = f"printable text of up to {MAX_LABEL_LENGTH} characters"


def dataset_name(place: Path) -> str:
    """What a data set is called: its folder's name, or its file's without the suffix.

    Args:
        place: the folder, or the file.

    Raises:
        DatasetError: no contract takes the name.
    """
    name, kind = (place.resolve().name, "folder") if place.is_dir() else (place.stem, "file")
    if not is_printable(name):
        raise DatasetError(f"{shown(place)}: the data set is called {name!r}, expected {_WANTED}; rename the {kind}")
    return name


def check_class_folders(root: Path, labels: Sequence[str]) -> None:
    """Refuse names of class folders that no contract takes as labels, or too many of them.

    Raises:
        DatasetError: with the folder's name.
    """
    for label in labels:
        if not label.strip() or not is_printable(label):
            raise DatasetError(f"{shown(root)}: a class folder is called {label!r}, expected {_WANTED}; rename it")
    check_label_count(labels, shown(root))


def check_label_count(labels: Sequence[str], name: str) -> None:
    """Refuse more labels than a contract takes.

    Args:
        name: of the data set's folder or file, for the message.

    Raises:
        DatasetError: with their number.
    """
    if len(labels) > MAX_LABELS:
        raise DatasetError(
            f"{name}: {len(labels):,} labels, more than {MAX_LABELS:,}, the limit; make some of them one"
        )
