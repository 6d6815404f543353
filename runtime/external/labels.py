"""Reads the labels of a model that has no contract: a text file with one label a line, perhaps behind a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..contract import MAX_LABELS, MAX_LABELS_BYTES
from ..errors import ContractError
from ..files import PathLike, read_regular_file

#: `2 bird`, `0: cat`, `1,dog`, `"3";"owl"`, `004.Albatross`: a number, a separator, a name. What follows a point or a
#: hyphen at once must be no digit: `1.5 volt` is a label.
_NUMBERED = re.compile(r"""\s*["']?(?P<number>[0-9]{1,9})["']?(?:\s*[:;,=|)]|\s*[.-](?![0-9])|\s)(?P<name>.*)""")
#: Formats that hold labels and are not read: the ends of their names, and how their content begins.
_OTHER_FORMATS = (
    ("JSON", (".json",), re.compile(r"\s*[\[{]\s*(?:[\"'\[{}\]]|[0-9]+\s*:|$)")),
    ("YAML", (".yaml", ".yml"), re.compile(r"\s*(?:---|- |(?:[^\n]*\n)?\w+:\s*\n\s*(?:- |[0-9]+\s*:|\w+:))")),
    ("pbtxt", (".pbtxt", ".pbtext", ".prototxt"), re.compile(r"\s*(?:#[^\n]*\n\s*)*item\s*[:{]")),
    ("XML", (".xml",), re.compile(r"\s*<[?!a-zA-Z]")),
)
_QUOTES = "\"'"


class LabelList(NamedTuple):
    """Labels in the order of the outputs, and what was taken off them; "" for nothing."""

    labels: tuple[str, ...]
    note: str = ""


def read_labels(source: PathLike | Sequence[str]) -> tuple[str, ...]:
    """Labels from a file or a list; see `parse_labels`.

    Raises:
        ContractError: the file cannot be read, is not UTF-8, or a label is blank.
    """
    return load_labels(source).labels


def load_labels(source: PathLike | Sequence[str]) -> LabelList:
    """As `read_labels`, with a note on what was taken off the lines of a file."""
    if isinstance(source, list | tuple):
        return LabelList(_checked([str(label) for label in source], "labels"))
    return parse_label_lines(*read_regular_file(source, MAX_LABELS_BYTES, ContractError))  # type: ignore[arg-type]


def parse_labels(content: bytes, name: str) -> tuple[str, ...]:
    """Labels from a file's content: one a line, UTF-8, in the order of the outputs.

    If every line begins with a number, the labels are placed by it; the numbers begin with 0 or 1. Number, separator,
    quotes and blanks around a label are removed. Blank lines at the end are ignored. A contract's labels are unique,
    but ImageNet's are not: the second "crane" becomes "crane (2)".

    Args:
        content: the file's content.
        name: the file's name, for messages.

    Raises:
        ContractError: it is not UTF-8, is of another format (JSON, YAML, pbtxt, XML), ends its lines with CR alone,
            has a blank line before the last label, or a number is missing or used twice.

    Example:
        >>> parse_labels(b"crane\\ncat\\ncrane\\n\\n", "labels.txt")
        ('crane', 'cat', 'crane (2)')
        >>> parse_labels(b"1: dog\\n0: cat\\n", "labels.txt")
        ('cat', 'dog')
    """
    return parse_label_lines(content, name).labels


def parse_label_lines(content: bytes, name: str) -> LabelList:
    """As `parse_labels`, with a note on what was taken off the lines."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContractError(f"{name}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    _refuse_other_formats(text, name)
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        raise ContractError(f"{name}: its lines end with CR alone; save it with the line ends of Unix or Windows")
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    found = [_NUMBERED.fullmatch(line) for line in lines]
    matches = [match for match in found if match and match["name"].strip(_QUOTES + " \t")]
    if lines and len(matches) == len(lines):
        return _placed(matches, name)
    if len(lines) > 2 and len(matches) == len(lines) - 1 and not found[0] and _has_header(lines):
        raise ContractError(f"{name}: a table with the header {lines[0]!r}; leave only lines such as {lines[1]!r}")
    labels = [line.strip() for line in lines]
    if labels and all(_is_quoted(label) for label in labels):
        return LabelList(
            _checked([label[1:-1] for label in labels], name), f"quotes are taken off the labels of {name}"
        )
    return LabelList(_checked(labels, name))


def _refuse_other_formats(text: str, name: str) -> None:
    for kind, suffixes, beginning in _OTHER_FORMATS:
        if name.lower().endswith(suffixes) or beginning.match(text):
            raise ContractError(f"{name}: a {kind} file; write the labels into a text file, one a line")


def _has_header(lines: Sequence[str]) -> bool:
    """Whether the first of some lines names the columns of the others."""
    return any(all(mark in line for line in lines[:3]) for mark in ",;\t|")


def _placed(matches: Sequence[re.Match[str]], name: str) -> LabelList:
    """The labels in the order of their numbers."""
    places: dict[int, str] = {}
    for line, match in enumerate(matches, 1):
        number = int(match["number"])
        if number in places:
            raise ContractError(f"{name}: line {line} has the number {number} again; each label needs its own")
        label = match["name"].strip()
        places[number] = label[1:-1].strip() if _is_quoted(label) else label
    first = min(places)
    missing = next(
        (number for number in range(min(first, 1), max(places)) if number not in places and number > 0), None
    )
    if missing is not None:
        raise ContractError(
            f"{name}: its lines are numbered up to {max(places)}, and {missing} is missing; each output needs a label"
        )
    labels = _checked([places[number] for number in sorted(places)], name)
    return LabelList(labels, f"the labels of {name} are placed by their numbers, from {first}, which are taken off")


def _is_quoted(label: str) -> bool:
    return len(label) > 2 and label[0] in _QUOTES and label[-1] == label[0] and label[0] not in label[1:-1]


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
