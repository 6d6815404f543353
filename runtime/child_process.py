"""Calls one function in a process of its own, for work that must not share memory or imports with its caller.

A TensorFlow Lite interpreter can take its process down with it, and tflite-runtime 2.14 does not work where TensorFlow
was imported before it. So models are tried, scored and measured in a child process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .child_limits import ChildLimits
from .errors import PocketlensError, describe
from .progress import Silent, report_to_named, reporter_name

#: The folder that holds our packages.
PACKAGE_ROOT = Path(__file__).resolve().parents[1]
#: Exit status of a child that Ctrl-C ended.
STATUS_INTERRUPTED = 130
_MAX_REASON = 1000
#: How deep a process is below the one that a person started; `bench` starts a child that tries a model in another.
_DEPTH_VARIABLE = "POCKETLENS_CHILD_DEPTH"
_MAX_DEPTH = 3
_SILENT = f"{Silent.__module__}:{Silent.__qualname__}"
_PROGRAM = "import sys; sys.path[:] = {path!r}; from runtime.child_process import _child; _child()"


class ChildError(PocketlensError, RuntimeError):
    """A child process gave no result.

    Attributes:
        status: its exit status; the negative number of the signal that ended it; None where its time was up or it
            could not be started.
    """

    def __init__(self, reason: str, status: int | None) -> None:
        super().__init__(reason)
        self.status = status


def call_in_child(
    function: str,
    *arguments: Any,
    content: bytes | None = None,
    shows_progress: bool = False,
    timeout: float | None = None,
    variables: Mapping[str, str] | None = None,
    limits: ChildLimits | None = None,
) -> Any:
    """Call one of our functions in a new Python process and return its result.

    The child imports from the same folders as this process, except the working folder of an interactive Python, and
    ignores Python's environment variables (`python -I`). It ends as soon as the function has returned, without
    tidying up.

    Args:
        function: the function, as `"package.module:function"`.
        arguments: values that JSON can hold.
        content: bytes that the function gets after the other arguments; they need no room on a disk.
        shows_progress: let the child write to this process's standard error and report its progress there; by
            default its output is held back.
        timeout: seconds until it is killed; no limit by default.
        variables: added to its environment.
        limits: set before it imports the function's module; none by default.

    Returns:
        The result of the function, as JSON gives it back.

    Raises:
        ChildError: the function raised an error (the text is that error's own line), or the process died of a signal,
            ran out of time or could not be started.
        KeyboardInterrupt: Ctrl-C ended the child.
    """
    depth = _next_depth()
    call = {
        "function": function,
        "arguments": arguments,
        "has_content": content is not None,
        "reporter": reporter_name() if shows_progress else _SILENT,
        "limits": limits,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _PROGRAM.format(path=import_path())],
            env={**os.environ, **(variables or {}), _DEPTH_VARIABLE: str(depth)},
            input=json.dumps(call).encode() + b"\n" + (content or b""),
            stdout=subprocess.PIPE,
            stderr=None if shows_progress else subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ChildError(f"it gave no answer within {timeout:g} s; is this machine busy?", None) from error
    except (OSError, ValueError) as error:
        raise ChildError(f"{sys.executable or 'no Python'} cannot be started: {error}", None) from error
    if done.returncode == STATUS_INTERRUPTED:
        raise KeyboardInterrupt
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise ChildError(describe_end(done.returncode, done.stderr), done.returncode) from error
    if "reason" in answer:
        raise ChildError(answer["reason"][:_MAX_REASON], done.returncode)
    return answer["result"]


def _next_depth() -> int:
    """The depth of a child of this process.

    Raises:
        ChildError: this program is frozen (PyInstaller), so that it would start itself again; or children started
            children without end.
    """
    if getattr(sys, "frozen", False):
        raise ChildError("this is a frozen application, which has no Python to start; `trusted=True` needs none", None)
    text = os.environ.get(_DEPTH_VARIABLE, "")
    depth = int(text) + 1 if text.isascii() and text.isdigit() else 1
    if depth > _MAX_DEPTH:
        raise ChildError(f"{sys.executable} starts itself again; is it a Python?", None)
    return depth


def import_path() -> list[str]:
    """The folders that this process imports from, as absolute paths."""
    path = [str(Path(folder).absolute()) for folder in sys.path if folder]
    return path if str(PACKAGE_ROOT) in path else [str(PACKAGE_ROOT), *path]


def describe_end(status: int, stderr: bytes | None) -> str:
    """Why a child gave no answer: the signal that ended it, else the last line of its standard error."""
    if status < 0:
        return f"its process died of {signal_name(-status)}"
    lines = (stderr or b"").decode(errors="replace").strip().splitlines()
    return lines[-1][:_MAX_REASON] if lines else f"its process ended with status {status}"


def signal_name(number: int) -> str:
    """A signal's name, such as `SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def call_by_name(function: str, arguments: Sequence[Any]) -> Any:
    """Call a function that is named as `"package.module:function"`."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(*arguments)


def _child() -> None:
    """Answer the call on standard input, and end the process."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what the function or native code prints must not mix with the answer
    status, answer = 0, b""
    try:
        call = json.loads(sys.stdin.buffer.readline())
        arguments = call["arguments"]
        if call["has_content"]:
            arguments.append(sys.stdin.buffer.read())
        if call["limits"]:
            ChildLimits(*call["limits"]).apply()
        report_to_named(call["reporter"])
        result = call_by_name(call["function"], arguments)
        answer = json.dumps({"result": result}).encode()
    except KeyboardInterrupt:
        status = STATUS_INTERRUPTED
    except Exception as error:  # the caller raises its text again
        status, answer = 1, json.dumps({"reason": describe(error)}).encode()
    with open(answers, "wb") as file:  # noqa: PTH123 - a file descriptor
        file.write(answer)
    sys.stdout.flush()
    sys.stderr.flush()
    # Without Python's shutdown, in which an interpreter could still crash or hang, and takes time to be destroyed.
    os._exit(status)
