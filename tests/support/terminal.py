"""A terminal of a chosen width, emulated by pyte, in which a program runs."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from dataclasses import dataclass
from pathlib import Path

import pyte

_ROWS = 40


@dataclass(frozen=True)
class Shown:
    """What a program showed.

    Attributes:
        lines: what is left on the terminal, with what scrolled away.
        frames: the last line that is not empty, each time that something was written.
        status: the program's exit status.
        cursor: whether the cursor is visible at the end.
    """

    lines: list[str]
    frames: list[str]
    status: int
    cursor: bool


def run_in_terminal(columns: int, *arguments: object, cwd: Path | None = None, **variables: str) -> Shown:
    """Run a program whose standard streams are a terminal of so many columns."""
    process, terminal = pty.fork()
    if process == 0:
        try:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
            os.chdir(cwd or os.curdir)
            environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **variables}
            environment.pop("COLUMNS", None)
            os.execvpe(str(arguments[0]), list(map(str, arguments)), environment)
        finally:
            os._exit(127)
    screen = pyte.HistoryScreen(columns, _ROWS, history=10_000)
    stream = pyte.ByteStream(screen)
    frames = []
    while content := _read(terminal):
        stream.feed(content)
        frames.append(next((line.rstrip() for line in reversed(screen.display) if line.strip()), ""))
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    past = ["".join(row[column].data for column in range(columns)) for row in screen.history.top]
    lines = [line.rstrip() for line in (*past, *screen.display)]
    while lines and not lines[-1]:
        lines.pop()
    return Shown(lines, frames, status, not screen.cursor.hidden)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the program has ended
        return b""
