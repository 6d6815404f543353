"""Reading the journal of an earlier Pocketlens: a file of JSON lines, imported once and then kept under another name.

{"format": "pocketlens-watch", "version": 1, "folder": "/srv/in"}
{"path": "a.jpg", "size": 912, "mtime_ns": 1718000000000000000, "inode": 77, "predictions": [...]}
{"told": "a.jpg", "moved_to": "/srv/out/cat/a.jpg"}
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from .journal_file import Answer, Identity, typed

OLD_DEFAULT_NAME = ".pocketlens-watch.jsonl"


class JournalRow(NamedTuple):
    """An answer, whether it was delivered, and to where its image was moved."""

    answer: Answer
    delivered: bool = False
    moved_to: str | None = None


def read_old_journal(lines: Iterable[bytes]) -> tuple[str, list[JournalRow]]:
    """The watched folder, and the answers in their order.

    A last line that a kill left unfinished is ignored.

    Raises:
        ValueError: a line is damaged; the text says which.
    """
    folder = ""
    rows: list[JournalRow] = []
    newest: dict[str, int] = {}
    damaged = 0
    for number, line in enumerate(lines, 1):
        if damaged:
            break
        try:
            record = json.loads(line) if line.endswith(b"\n") else {}
            if number == 1:
                folder = typed(record["folder"], str)
            elif "told" in record:
                place = newest.get(typed(record["told"], str))
                if place is not None:
                    rows[place] = rows[place]._replace(delivered=True, moved_to=record.get("moved_to"))
            else:
                identity = Identity(*(typed(record[field], int) for field in Identity._fields))
                answer = Answer.from_dict(typed(record["path"], str), identity, record)
                newest[answer.path] = len(rows)
                rows.append(JournalRow(answer, answer.skipped))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            damaged = number
    else:
        if damaged != 1:  # the first line was never written in place
            return folder, rows
    raise ValueError(f"line {damaged} is damaged")
