"""The user's command, which is run for each answered image without a shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from ..errors import ActionError
from ..files import shown
from ..postprocessing import Prediction
from ..service import MANAGER_VARIABLES
from .code_arguments import code_arguments

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_POLL_S = 0.5
#: Words that a shell does not hand to a program.
_SHELL_WORDS = frozenset({">", ">>", "<", "|", "||", "&&", "2>", "2>&1", "&>"})


class Hook:
    """A command to run for each answered image, without a shell.

    Args:
        command: written as for a shell. It is split into arguments once; `{path}`, `{label}` and `{score}` are filled
            in afterwards, so that each value stays within its argument.
        timeout: seconds after which the command is killed, with all processes that it started.

    Raises:
        ValueError: the command is empty, a quote does not close, a placeholder is unknown, or one stands in the
            program's name or in code for a shell or an interpreter.
    """

    def __init__(self, command: str, timeout: float = 60.0) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"{command!r} cannot be split into arguments: {error}") from error
        if not self._arguments:
            raise ValueError("the command is empty")
        for word in self._arguments:
            if word in _SHELL_WORDS:
                raise ValueError(
                    f"{word!r} is for a shell, and the command runs without one: sh -c 'echo \"$1\" >> log' _ {{path}}"
                )
        check_placeholders(command, ("path", "label", "score"))
        if _PLACEHOLDER.search(self._arguments[0]):
            raise ValueError(f"{self._arguments[0]!r}: an image cannot choose which program is run")
        for place in code_arguments(self._arguments):
            if _PLACEHOLDER.search(self._arguments[place]):
                raise ValueError(
                    f"{self._arguments[place]!r} is code, so a file's name in it would be run; "
                    "give the name as an argument of its own: sh -c 'echo \"$1\"' _ {path}"
                )
        self._timeout = timeout

    def check_program(self) -> None:
        """Find the program, so that a misspelt name is known before an image arrives.

        Raises:
            ValueError: there is no such program.
        """
        program = self._arguments[0]
        if shutil.which(program) is None:
            where = "no program that can be run lies there" if os.sep in program else "command not found in $PATH"
            raise ValueError(f"{program!r}: {where}; name a program that is installed, or its path")

    def arguments(self, path: str, best: Prediction) -> list[str]:
        """The program and its arguments for one image, as `os.fsencode` turns them into bytes.

        Example:
            >>> Hook("notify --text '{label} in {path}'").arguments("a; rm b.png", Prediction("cat", 0.5, 0))
            ['notify', '--text', 'cat in a; rm b.png']
        """
        # A label is UTF-8 in any locale; a path keeps the bytes that it has on the disk.
        label = os.fsdecode(best.label.encode(errors="backslashreplace"))
        values = {"path": path, "label": label, "score": f"{best.score:.6f}"}
        return [_PLACEHOLDER.sub(lambda found: values[found[1]], argument) for argument in self._arguments]

    def run(
        self, path: str, best: Prediction, keep_going: Callable[[], object] = lambda: None, subject: str = ""
    ) -> None:
        """Run the command and wait for its end; its output goes to standard error.

        Args:
            keep_going: called twice a second while waiting.
            subject: what messages begin with; by default the path.

        Raises:
            ActionError: the command could not be started, failed, or took too long.
        """
        name = shlex.quote(self._arguments[0])
        subject = subject or shown(path)
        environment = {key: value for key, value in os.environ.items() if key not in MANAGER_VARIABLES}
        try:
            # A session of its own: Ctrl-C does not reach it, and it can be killed together with its children.
            process = subprocess.Popen(
                self.arguments(path, best),
                stdin=subprocess.DEVNULL,
                stdout=_standard_error(),
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ActionError(f"{subject}: the command {name} cannot be started: {reason}") from error
        status = self._wait(process, keep_going)
        if status is None:
            raise ActionError(f"{subject}: the command {name} was killed after {self._timeout:g} s (`exec_timeout`)")
        if status:
            how = f"status {status}" if status > 0 else f"signal {-status}"
            raise ActionError(f"{subject}: the command {name} ended with {how}")

    def _wait(self, process: subprocess.Popen[bytes], keep_going: Callable[[], object]) -> int | None:
        end = time.monotonic() + self._timeout
        while True:
            keep_going()
            remaining = end - time.monotonic()
            try:
                return process.wait(max(0.0, min(_POLL_S, remaining)))
            except subprocess.TimeoutExpired:
                if remaining <= 0:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return None


def _standard_error() -> int:
    try:
        os.fstat(2)
    except OSError:  # a daemon's may be closed
        return subprocess.DEVNULL
    return 2


def check_placeholders(template: str, known: tuple[str, ...]) -> None:
    """Refuse a placeholder that is likely misspelt.

    Raises:
        ValueError: the template holds a `{word}` that is not among the known ones.
    """
    for name in _PLACEHOLDER.findall(template):
        if name not in known:
            allowed = ", ".join(f"{{{one}}}" for one in known)
            raise ValueError(f"{template!r}: unknown placeholder {{{name}}}; there is {allowed}")
