"""What a watch has yet to do for answers that it has given, and which image it is answering; kept in the journal."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from .journal_file import Answer, Identity, answer_from_row, typed

if TYPE_CHECKING:
    import sqlite3


class FailedCommand(NamedTuple):
    """A command that failed and is to be run again.

    Attributes:
        number: the answer's number in the journal.
        moved_to: where the image was moved, or None.
        attempts: how often the command has failed.
        retry_at: when it is run again, in seconds since 1970.
    """

    number: int
    answer: Answer
    moved_to: str | None
    attempts: int
    retry_at: float


class UnfinishedWork:
    """The tables `commands`, `moves` and `begun` of a journal.

    Nothing here is synced: after a loss of power, a step may be repeated.

    Args:
        transaction: opens a transaction of the journal that is not synced.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        self._transaction = transaction

    def begin_image(self, path: str, identity: Identity) -> int:
        """Note that an image is being answered; returns how many processes have died while they answered it."""
        key, text = os.fsencode(path), str(identity)
        with self._transaction() as connection:
            query = "SELECT deaths FROM begun WHERE path = ? AND identity = ?"
            row = connection.execute(query, (key, text)).fetchone()
            deaths: int = typed(row[0], int) if row else 0
            connection.execute("DELETE FROM begun WHERE path = ?", (key,))
            connection.execute("INSERT INTO begun VALUES (?, ?, ?)", (key, text, deaths + 1))
        return deaths

    def end_image(self, path: str) -> None:
        """Note that the process has survived an image."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM begun WHERE path = ?", (os.fsencode(path),))

    def failed_commands(self) -> list[FailedCommand]:
        """The commands to run again, in the order of their times."""
        query = (
            "SELECT number, attempts, retry_at, moved_to, path, identity, answers.answer FROM commands "
            "JOIN answers ON answers.number = commands.answer ORDER BY retry_at, number"
        )
        with self._transaction() as connection:  # inside it, a row that is damaged gives our error
            return [
                FailedCommand(
                    typed(number, int),
                    answer_from_row(*row),
                    _place(place),
                    typed(attempts, int),
                    typed(retry_at, float),
                )
                for number, attempts, retry_at, place, *row in connection.execute(query)
            ]

    def retry_command(self, number: int, attempts: int, retry_at: float) -> None:
        """Note when the command for an answer is run again, after so many failures."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO commands VALUES (?, ?, ?)", (number, attempts, retry_at))

    def end_command(self, number: int) -> None:
        """Note that the command for an answer has run, or was given up."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM commands WHERE answer = ?", (number,))

    def failed_moves(self) -> list[tuple[int, Answer]]:
        """The answers whose images could not be moved, with their numbers, in their order."""
        query = (
            "SELECT number, path, identity, answers.answer FROM moves "
            "JOIN answers ON answers.number = moves.answer ORDER BY number"
        )
        with self._transaction() as connection:
            return [(typed(number, int), answer_from_row(*row)) for number, *row in connection.execute(query)]

    def end_move(self, number: int, moved_to: str | None) -> None:
        """Note where an image was moved after all; None if there is nothing left to move."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM moves WHERE answer = ?", (number,))
            if moved_to is not None:
                place = os.fsencode(moved_to)
                connection.execute("UPDATE answers SET moved_to = ? WHERE number = ?", (place, number))


def _place(moved_to: bytes | None) -> str | None:
    return None if moved_to is None else os.fsdecode(moved_to)
