"""Reads the labels of a model that has no contract: a text file with one label a line, as is usual."""

from __future__ import annotations

from collections.abc import Sequence

from ..contract import MAX_LABELS, MAX_LABELS_BYTES
from ..errors import ContractError
from ..files import PathLike, read_regular_file


def read_labels(source: PathLike | Sequence[str]) -> tuple[str, ...]:
    """Labels from a file or a list; see `parse_labels`.

    Raises:
        ContractError: the file cannot be read, is not UTF-8, or a label is blank.
    """
    if isinstance(source, list | tuple):
        return _checked([str(label) for label in source], "labels")
    return parse_labels(*read_regular_file(source, MAX_LABELS_BYTES, ContractError))  # type: ignore[arg-type]


def parse_labels(content: bytes, name: str) -> tuple[str, ...]:
    """Labels from a file's content: one a line, UTF-8, in the order of the outputs.

    Blank lines at the end are ignored. Nothing is stripped from a line, not even a number before the label. A
    contract's labels are unique, but ImageNet's are not: the second "crane" becomes "crane (2)".

    Args:
        content: the file's content.
        name: the file's name, for messages.

    Raises:
        ContractError: it is not UTF-8, or has a blank line before the last label.

    Example:
        >>> parse_labels(b"crane\\ncat\\ncrane\\n\\n", "labels.txt")
        ('crane', 'cat', 'crane (2)')
    """
    try:
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise ContractError(f"{name}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return _checked(lines, name)


def _checked(labels: list[str], name: str) -> tuple[str, ...]:
    if len(labels) > MAX_LABELS:
        raise ContractError(f"{name}: {len(labels)} labels, expected at most {MAX_LABELS}")
    for number, label in enumerate(labels, 1):
        if not label.strip():
            raise ContractError(f"{name}: label {number} is blank; each output needs one")
    return _numbered(labels)


def _numbered(labels: list[str]) -> tuple[str, ...]:
    """The same labels, made unique."""
    taken, result = set(labels), []
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
        chosen = label
        while counts[label] > 1 and chosen in taken:
            chosen = f"{label} ({counts[label]})"
            counts[label] += chosen in taken
        taken.add(chosen)
        result.append(chosen)
    return tuple(result)
