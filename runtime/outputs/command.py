"""Telling a command of the user's: it runs once for each event, without a shell."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import ActionError
from ..files import shown
from ..postprocessing import Prediction
from ..watch.commands import DEFAULT_RETRIES
from ..watch.hook import Hook
from .event import Event
from .sink import OutputError, Sink


class CommandSink(Sink):
    """Runs a command for each event, and again if it fails, as a watch does.

    Args:
        command: written as for a shell; `{label}`, `{score}` and `{path}` are filled in. `{path}` is a file with the
            picture, which is removed after the command has ended; it is empty for an event without a picture.
        timeout: seconds until the command is killed.
        retries: how often a command that fails is run again.

    Raises:
        ValueError: the command cannot be run, see `Hook`.
    """

    pauses = (2.0, 600.0)

    def __init__(self, command: str, timeout: float = 60.0, retries: int = DEFAULT_RETRIES) -> None:
        self._hook = Hook(command, timeout)
        self._hook.check_program()
        self._attempts = retries + 1
        self.takes_pictures = "{path}" in command
        self.name = "command"

    def send(self, number: int, event: Event) -> None:
        best = Prediction(event.label, event.score, -1)
        subject = f"{shown(event.source)}: {shown(event.label)}"
        try:
            if not self.takes_pictures or event.picture is None:
                self._hook.run("", best, subject=subject)
                return
            with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
                path = Path(folder, "picture.jpg")
                path.write_bytes(event.picture)
                self._hook.run(str(path), best, subject=subject)
        except OSError as error:
            raise OutputError(
                f"{subject}: the picture for the command cannot be written to {tempfile.gettempdir()}: "
                f"{error.strerror}; make room there, or name another folder in $TMPDIR",
                attempts=self._attempts,
            ) from error
        except ActionError as error:
            raise OutputError(str(error), attempts=self._attempts) from error
