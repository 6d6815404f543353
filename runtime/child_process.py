"""Calls one function in a process of its own, for work that must not share memory or imports with its caller.

A TensorFlow Lite interpreter can take its process down with it, and tflite-runtime 2.14 does not work where TensorFlow
was imported before it. So models are tried, scored and measured in a child process.

In a frozen application (PyInstaller) `sys.executable` is the application itself, which would start again. There the
child is a fork of this process. A fork copies no other thread, and a lock that such a thread holds stays locked for
ever, so that only a process with one thread is forked, and only on Linux.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

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
#: What the file name of a Python begins with.
_PYTHONS = ("python", "pypy", "graalpy")
_SILENT = f"{Silent.__module__}:{Silent.__qualname__}"
_PROGRAM = "import sys; sys.path[:] = {path!r}; from runtime.child_process import _child; _child()"


class ChildError(PocketlensError, RuntimeError):
    """A child process gave no result.

    Attributes:
        status: its exit status; the negative number of the signal that ended it; None where its time was up or it
            could not be started.
        is_disk_full: whether it failed for want of room on a disk.
    """

    def __init__(self, reason: str, status: int | None, is_disk_full: bool = False) -> None:
        super().__init__(reason)
        self.status, self.is_disk_full = status, is_disk_full


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
    call = {
        "function": function,
        "arguments": arguments,
        "has_content": content is not None,
        "reporter": reporter_name() if shows_progress else _SILENT,
        "limits": limits,
    }
    request = json.dumps(call).encode()
    added = {**(variables or {}), **_depth_variable()}
    if has_python():
        ended = _run_python(request + b"\n" + (content or b""), added, shows_progress, timeout)
    else:
        ended = _run_fork(json.loads(request), content, added, shows_progress, timeout)
    if ended.status == STATUS_INTERRUPTED:
        raise KeyboardInterrupt
    try:
        answer = json.loads(ended.answer)
    except ValueError as error:
        raise ChildError(describe_end(ended.status, ended.stderr), ended.status) from error
    if "reason" in answer:
        raise ChildError(answer["reason"][:_MAX_REASON], ended.status)
    return answer["result"]


def has_python() -> bool:
    """Whether `sys.executable` is a Python; a frozen application, or one that embeds Python, would start itself."""
    if not sys.executable or getattr(sys, "frozen", False):
        return False
    path = Path(sys.executable)
    names = {path.name}
    with contextlib.suppress(OSError):  # a link that cannot be followed, as under emulation
        names.add(path.resolve().name)
    return any(name.lower().startswith(_PYTHONS) for name in names)


def python_command(program: str, *arguments: str) -> list[str]:
    """The command that runs a Python program with the folders that this process imports from.

    Args:
        program: the program; `{path}` in it is replaced by these folders.

    Raises:
        ChildError: there is no Python to start.
    """
    if not has_python():
        raise ChildError(f"this application has no Python to start ({sys.executable or 'no executable'})", None)
    return [sys.executable, "-I", "-c", program.format(path=import_path()), *arguments]


class _End(NamedTuple):
    """How a child ended: its exit status (negative for a signal), its answer, and its standard error if held back."""

    status: int
    answer: bytes
    stderr: bytes | None


def _run_python(request: bytes, added: Mapping[str, str], shows_progress: bool, timeout: float | None) -> _End:
    try:
        done = subprocess.run(
            python_command(_PROGRAM),
            env={**os.environ, **added},
            input=request,
            stdout=subprocess.PIPE,
            stderr=None if shows_progress else subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_late(timeout) from error
    except (OSError, ValueError) as error:
        raise ChildError(f"{sys.executable} cannot be started: {error}", None) from error
    return _End(done.returncode, done.stdout, done.stderr)


def _run_fork(
    call: dict[str, Any], content: bytes | None, added: Mapping[str, str], shows_progress: bool, timeout: float | None
) -> _End:
    _refuse_unsafe_fork()
    import multiprocessing  # here: a process with a Python does not need it

    with open(os.memfd_create("answer"), "w+b") as answer, open(os.memfd_create("errors"), "w+b") as errors:  # noqa: PTH123

        def child() -> None:
            _forget_parent()
            os.environ.update(added)
            os.dup2(answer.fileno(), 1)
            if not shows_progress:
                os.dup2(errors.fileno(), 2)
            _answer(call, content)

        process = multiprocessing.get_context("fork").Process(target=child)
        try:
            process.start()
            process.join(timeout)
            if process.exitcode is None:
                raise _too_late(timeout)
        except (OSError, AssertionError) as error:  # no memory; or a daemon of multiprocessing, which may have no child
            raise ChildError(f"this application cannot be forked: {error}", None) from error
        finally:
            if process.pid and process.exitcode is None:
                process.kill()
                process.join()
        answer.seek(0)
        errors.seek(0)
        return _End(process.exitcode, answer.read(), None if shows_progress else errors.read())


def _refuse_unsafe_fork() -> None:
    """Raise ChildError where a fork of this process could hang."""
    if sys.platform != "linux":
        reason = "forking is safe on Linux only"
    elif threading.active_count() > 1:
        reason = "forking it is safe before it has started a second thread only"
    else:
        return
    raise ChildError(
        f"this application has no Python to start ({sys.executable or 'no executable'}), and {reason}; "
        "`trusted=True` needs no child process",
        None,
    )


def _forget_parent() -> None:
    """Undo what a fork inherits and a new Python has not: the application's handlers of signals."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _too_late(timeout: float | None) -> ChildError:
    return ChildError(f"it gave no answer within {timeout:g} s; is this machine busy?", None)


def _depth_variable() -> dict[str, str]:
    """The variable that says to a child of this process how deep it is.

    Raises:
        ChildError: children started children without end.
    """
    text = os.environ.get(_DEPTH_VARIABLE, "")
    depth = int(text) + 1 if text.isascii() and text.isdigit() else 1
    if depth > _MAX_DEPTH:
        raise ChildError(f"{sys.executable} starts itself again; is it a Python?", None)
    return {_DEPTH_VARIABLE: str(depth)}


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
    call = json.loads(sys.stdin.buffer.readline())
    _answer(call, sys.stdin.buffer.read() if call["has_content"] else None)


def _answer(call: dict[str, Any], content: bytes | None) -> NoReturn:
    """Write the function's result to standard output, and end the process."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what the function or native code prints must not mix with the answer
    status, answer = 0, b""
    try:
        arguments = [*call["arguments"], *([content] if content is not None else [])]
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
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a fork's parent may have none
            stream.flush()
    # Without Python's shutdown, in which an interpreter could still crash or hang, and takes time to be destroyed.
    os._exit(status)
