"""What an output is to its queue: something that takes one event at a time, and may fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ActionError
from .event import Event


class OutputError(ActionError):
    """An event could not be told.

    Args:
        message: one line: the thing, the value found, the cure.
        attempts: after so many of them the event is given up; None never gives it up.
        pause: seconds to wait at least until the next attempt, such as a server has asked for.
    """

    def __init__(self, message: str, *, attempts: int | None = None, pause: float = 0.0) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.pause = pause


class Sink:
    """One output. Its methods are called by one thread only.

    Attributes:
        name: names the output in messages; it holds no password.
        kind: names its place in the queue on the disk, so that an address can be mended; by default `name`.
        is_kept: whether events that it has not got are kept over a restart.
        takes_pictures: whether it wants the picture of each event.
        pauses: seconds to wait after the first failure, which are doubled after each further one, and the most.
    """

    name = "output"
    kind = ""
    is_kept = True
    takes_pictures = False
    pauses = (0.5, 60.0)

    def send(self, number: int, event: Event) -> None:
        """Tell one event; when this returns, the receiver has it.

        Args:
            number: counts the events; after a failure or a restart an event is told again under its number.

        Raises:
            OutputError: the receiver does not have it.
        """
        raise NotImplementedError

    def idle(self) -> None:
        """Called about once a second while there is nothing to tell.

        Raises:
            OutputError: the receiver cannot be reached.
        """

    def close(self) -> None:
        """Release everything; nothing is sent afterwards."""


class CallbackSink(Sink):
    """Gives each event to a function of this process, without a number; nothing is kept over a restart.

    Args:
        name: as of `Sink`.
        function: called with each event; what it raises is reported, except a BrokenPipeError, which ends the output.
        takes_pictures: whether the events have their pictures.
    """

    is_kept = False

    def __init__(self, name: str, function: Callable[[Event], object], *, takes_pictures: bool = False) -> None:
        self.name = name
        self.takes_pictures = takes_pictures
        self._function = function

    def send(self, number: int, event: Event) -> None:
        try:
            self._function(event)
        except BrokenPipeError:
            raise
        except Exception as error:
            raise OutputError(f"{self.name}: {error}", attempts=1) from error


def document_of(number: int, event: Event) -> dict[str, Any]:
    """The JSON document that is told: the event with its number; an event that is told twice has the same number."""
    return {"number": number, **event.as_dict()}
