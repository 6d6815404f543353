"""Checks that a contract can hold the names of a data set and its labels, before any image is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime.contract import MAX_LABELS
from runtime.files import shown
from runtime.input_spec import MAX_LABEL_LENGTH, is_printable

from ..errors import DatasetError

_EXPECTED = f"printable text of up to {MAX_LABEL_LENGTH} characters"


def dataset_name(place: Path) -> str:
    """The name of a data set: its folder's name, or its file's name without the suffix.

    Args:
        place: the folder, or the file.

    Raises:
        DatasetError: a contract cannot hold the name.
    """
    name, kind = (place.resolve().name, "folder") if place.is_dir() else (place.stem, "file")
    if not is_printable(name):
        raise DatasetError(f"{shown(place)}: the data set is called {name!r}, expected {_EXPECTED}; rename the {kind}")
    return name


def check_class_folders(root: Path, labels: Sequence[str]) -> None:
    """Refuse class folders whose names a contract cannot hold as labels, or too many of them.

    Raises:
        DatasetError: the message names the folder.
    """
    for label in labels:
        if not label.strip() or not is_printable(label):
            raise DatasetError(f"{shown(root)}: a class folder is called {label!r}, expected {_EXPECTED}; rename it")
    check_label_count(labels, shown(root))


def check_label_count(labels: Sequence[str], name: str) -> None:
    """Refuse more labels than a contract can hold.

    Args:
        name: the data set's folder or file, for the message.

    Raises:
        DatasetError: the message gives their number.
    """
    if len(labels) > MAX_LABELS:
        raise DatasetError(f"{name}: {len(labels):,} labels, more than {MAX_LABELS:,}, the limit; merge some of them")
