"""Checks the names of a data set and of its labels: a contract can hold them, and they say what they should."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.contract import MAX_LABELS
from runtime.files import shown
from runtime.input_spec import MAX_LABEL_LENGTH, is_printable
from runtime.postprocessing import unknown_remark

from ..errors import DatasetError

#: Marks that people leave out, as in `t-shirt`. Between digits they mean something: 1-0 is not 10.
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=[^\W\d_])")
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


def label_remarks(labels: Sequence[str]) -> Iterator[str]:
    """What is odd about labels: some that are hard to tell apart, and one that means something else on a device."""
    alike: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        plain = unicodedata.normalize("NFKC", label).casefold().strip()
        alike[_BETWEEN_LETTERS.sub("", plain)].append(label)
    for group in alike.values():
        if len(group) > 1:
            yield (
                f"the labels {' and '.join(map(repr, group))} differ in case, blanks, dashes or accents alone; if they "
                f"are one class, join them with `merge={','.join(group)}={group[0]}`"
            )
    if remark := unknown_remark(labels):
        yield remark
